/**
 * Settings of a startup message that are not known to be harmless, judged one by one as the SET that each amounts to: what a policy says
 * of `SET app.tenant` and `SET ROLE` is not got around by saying it earlier.
 *
 * Nobody is waited for here: what a person would have to decide on is refused, and may be said in the session.
 */
import type { Judge, Refusal } from "#sidecar/seam/verdict.ts";
import { fromUtf8 } from "./codec/text.ts";
import { OperationWriter, type Redact } from "./operations.ts";
import type { Identity } from "./settings.ts";
import { settingStatement } from "./sql/settings.ts";

/** Null: all of them may be set. `settings`: bytes as latin1. */
export function judgeSettings(
  settings: readonly (readonly [string, string])[],
  identity: Identity,
  judge: Judge,
  redact: Redact,
): Refusal | null {
  const writer = new OperationWriter(fromUtf8(identity.user) ?? "", fromUtf8(identity.database) ?? "", redact);
  for (const [name, bytes] of settings) {
    const value = fromUtf8(bytes);
    if (value === null) return judge.refuse("not_utf8", name, null);
    const statement = settingStatement(name, value);
    const written = writer.write(
      {
        statements: [statement],
        text: `SET ${name} TO '${value.replaceAll("'", "''")}'`,
        complete: statement.complete,
        doubts: statement.doubts,
        alike: null,
      },
      judge.profile,
    );
    const verdict = judge.ask(writer.operation(written, ',"step":"startup"', null), { settled() {} });
    if (verdict.kind === "refusal") return verdict;
    if (verdict.kind === "held") {
      verdict.abandon("cancelled");
      return judge.refuse("method_unsupported", `${name} needs an approval: SET it in the session`, null);
    }
    judge.finish(verdict, { status: "startup", masked: 0, attempts: 1 });
  }
  return null;
}
