/** What `mesh.mode: chain` says of a mesh (docs/adr/0013-mesh-in-the-same-pod.md): how its containers look, as what they run, where they listen. */
import { type Static, Type } from "typebox";
import { CONTAINER, OUR_PORT_NUMBERS, PROXY_UID } from "#contract/names.ts";
import type { Violation } from "./violation.ts";

const strict = { additionalProperties: false } as const;
const text = Type.String({ minLength: 1, maxLength: 1024, pattern: "^[^,\\n]*$" });
const containerName = Type.String({ pattern: "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$" });
/** How many of the first arguments may be given. */
export const MAX_MESH_ARGS = 16;
const args = Type.Array(text, { maxItems: MAX_MESH_ARGS });

export const MeshSchema = Type.Object(
  {
    name: text,
    uid: Type.Integer({ minimum: 1, maximum: 4_294_967_294 }),
    ports: Type.Array(Type.Integer({ minimum: 1, maximum: 65_535 }), { minItems: 1, maxItems: 64 }),
    images: Type.Array(text, { minItems: 1, maxItems: 16 }),
    proxy: Type.Object({ container: containerName, args }, strict),
    init: Type.Object({ containers: Type.Array(containerName, { maxItems: 8 }), args }, strict),
    environment: Type.Array(text, { maxItems: 128 }),
    mounts: Type.Array(text, { maxItems: 64 }),
  },
  strict,
);
export type MeshOptions = Readonly<Static<typeof MeshSchema>>;

/** What a schema cannot say. */
export function meshFaults({ uid, ports, proxy, init }: MeshOptions): Violation[] {
  const faults: Violation[] = [];
  const no = (field: string, message: string): unknown => faults.push({ field: `mesh.${field}`, message });
  if (uid >= PROXY_UID.first && uid <= PROXY_UID.last) no("uid", "is of the gateway's own range");
  for (const port of ports.filter((p) => OUR_PORT_NUMBERS.includes(p))) no("ports", `${port} is the gateway's`);
  const names = [proxy.container, ...init.containers];
  for (const name of names.filter((n) => (Object.values(CONTAINER) as string[]).includes(n)))
    no("proxy.container", `${name} is the gateway's`);
  if (new Set(names).size < names.length) no("init.containers", "a name stands there twice");
  return faults;
}

/** `UID:PORT,PORT…`, as init is told it. Null: "". */
export function meshText(mesh: MeshOptions | null): string {
  return mesh === null ? "" : `${mesh.uid}:${mesh.ports.join(",")}`;
}
