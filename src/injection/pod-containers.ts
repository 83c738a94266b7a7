/** Walks a pod's containers with the field that names each, and knows which of them are the gateway's own. */
import { CONTAINER } from "#contract/names.ts";
import type { Container, Pod } from "./pod.ts";

export type ContainerList = "initContainers" | "containers" | "ephemeralContainers";

export interface PlacedContainer {
  /** `spec.initContainers[2]` */
  readonly field: string;
  readonly list: ContainerList;
  readonly container: Container;
}

const OURS: ReadonlySet<string> = new Set(Object.values(CONTAINER));

/** Whether a container bears one of our names; whether it *is* ours, a field by field comparison decides. */
export function hasOurName(container: Container): boolean {
  return OURS.has(container.name);
}

export function placedContainers(pod: Pod): PlacedContainer[] {
  const lists: readonly ContainerList[] = ["initContainers", "containers", "ephemeralContainers"];
  return lists.flatMap((list) =>
    (pod.spec[list] ?? []).map((container, index) => ({ field: `spec.${list}[${index}]`, list, container })),
  );
}

/** All but those with our names. */
export function agentContainers(pod: Pod): PlacedContainer[] {
  return placedContainers(pod).filter(({ container }) => !hasOurName(container));
}
