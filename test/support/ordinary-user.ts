/** Runs something as somebody who is not root: the tests' own user, or, where that is root, an account made of numbers only. */
import { userInfo } from "node:os";

export interface OrdinaryUser {
  readonly uid: number;
  readonly gid: number;
  readonly name: string;
  /** Put in front of a command. */
  readonly prefix: readonly string[];
}

/** An unprivileged id that no account of the system should have. */
const SOMEBODY = 61_234;

export function ordinaryUser(): OrdinaryUser {
  const { uid, gid, username } = userInfo();
  if (uid !== 0) return { uid, gid, name: username, prefix: [] };
  const id = String(SOMEBODY);
  return {
    uid: SOMEBODY,
    gid: SOMEBODY,
    name: "somebody",
    prefix: ["setpriv", "--reuid", id, "--regid", id, "--clear-groups", "--"],
  };
}
