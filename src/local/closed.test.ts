import { expect, test } from "vitest";
import { howToOpen, type SystemFacts } from "./closed.ts";

const NOTHING: SystemFacts = {
  said: "unshare: unshare failed: Operation not permitted",
  unprivilegedUsernsClone: null,
  apparmorRestrict: null,
  maxUserNamespaces: "15000",
  inContainer: false,
};

test.each([
  ["Debian's switch", { unprivilegedUsernsClone: "0" }, "sudo sysctl -w kernel.unprivileged_userns_clone=1"],
  [
    "Ubuntu's AppArmor rule",
    { apparmorRestrict: "1" },
    "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
  ],
  [
    "a limit of none",
    { maxUserNamespaces: "0", said: "unshare: unshare failed: No space left on device" },
    "sudo sysctl -w user.max_user_namespaces=15000",
  ],
  ["a container", { inContainer: true }, "docker run --cap-add SYS_ADMIN"],
  ["anything else", {}, "run it as root"],
])("%s: names the line that opens it", (_, facts, expected) => {
  expect(howToOpen({ ...NOTHING, ...facts })).toContain(expected);
});

test("a fault that is not about permission is left as it is", () => {
  expect(howToOpen({ ...NOTHING, said: "nft: syntax error" })).toBeNull();
});
