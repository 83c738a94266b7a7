/** Who a freeze says made it, is who made it: the answers to agents, `status` and the record quote that name. */
import { API_GROUP, API_VERSION } from "#contract/names.ts";
import type { Policy } from "./policy.ts";

export function freezePolicy(): Policy {
  return {
    name: "sidegate-freezes",
    about: "A freeze names who made it, and who lifted it.",
    params: false,
    rules: [
      {
        apiGroups: [API_GROUP],
        resources: ["freezes"],
        operations: ["CREATE", "UPDATE"],
        apiVersions: [API_VERSION.slice(API_GROUP.length + 1)],
      },
    ],
    conditions: {},
    variables: {},
    checks: [
      {
        expression: `request.operation != "CREATE" || object.spec.by == request.userInfo.username`,
        message: "spec.by: must be your own user name (kubectl auth whoami)",
      },
      {
        expression: `!has(object.spec.lifted) || (request.operation == "UPDATE" && has(oldObject.spec.lifted)) || object.spec.lifted.by == request.userInfo.username`,
        message: "spec.lifted.by: must be your own user name (kubectl auth whoami)",
      },
    ],
  };
}
