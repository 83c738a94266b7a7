/**
 * Freeze as a resource: one object freezes its namespace, or one pod in it, or (in the gateway's own namespace) every agent. Who may
 * freeze is who may create one there; that `by` is who made it, the admission policy sidegate-freezes holds.
 */
import { type Static, Type } from "typebox";

const strict = { additionalProperties: false } as const;
/** No control characters: it is shown in terminals, and to agents. */
const sentence = { minLength: 1, maxLength: 500, pattern: "^[^\\x00-\\x1f\\x7f]+$" } as const;
const user = { minLength: 1, maxLength: 320, pattern: "^[^\\x00-\\x1f\\x7f]+$" } as const;

export const FreezeSpec = Type.Object(
  {
    pod: Type.Optional(
      Type.String({ minLength: 1, maxLength: 253, description: "One pod, by its name; absent: the whole namespace." }),
    ),
    reason: Type.String({ ...sentence, description: "Why; the agent reads it, and it stands in the record." }),
    by: Type.String({ ...user, description: "Your own user name (kubectl auth whoami)." }),
    lifted: Type.Optional(
      Type.Object(
        {
          by: Type.String({ ...user, description: "Your own user name." }),
          reason: Type.Optional(Type.String(sentence)),
        },
        { ...strict, description: "Set once, to lift it; the object goes away when that is on record." },
      ),
    ),
  },
  strict,
);
export type FreezeSpec = Static<typeof FreezeSpec>;

export const FreezeStatus = Type.Object({
  pods: Type.Optional(Type.Integer({ description: "How many running pods it concerns." })),
  recorded: Type.Optional(Type.Enum(["frozen", "lifted"], { description: "What of it the collector has on record." })),
});
export type FreezeStatus = Static<typeof FreezeStatus>;
