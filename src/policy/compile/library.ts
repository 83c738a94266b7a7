/**
 * Adds the library's policies to a folder's own. The folder decides: a policy of the same name replaces the library's, data of a
 * library policy's name replaces its data, and `library:` in sidegate.yaml names which of them are wanted.
 */
import { type FolderSources, readPolicyFolder } from "./folder.ts";
import type { Problem } from "./problem.ts";
import type { PolicySources, SourceFile } from "./sources.ts";

/** Library files are called so in messages and rule tables. */
const PREFIX = "library/";

export type WithLibrary =
  | { readonly kind: "sources"; readonly sources: PolicySources }
  | { readonly kind: "problems"; readonly problems: readonly Problem[] };

export async function addLibrary(own: FolderSources, library: string): Promise<WithLibrary> {
  const read = await readPolicyFolder(library);
  if (read.kind === "problems") return read;
  const { sources } = own;
  const ownNames = new Set(sources.modules.map(policyNameOf));
  const available = new Set(read.sources.modules.map(policyNameOf));
  const wanted = own.library;
  if (wanted !== null)
    for (const name of wanted)
      if (!available.has(name))
        return {
          kind: "problems",
          problems: [{ file: "sidegate.yaml", line: 0, message: `library: there is no policy ${name}` }],
        };
  const takes = (file: SourceFile): boolean => {
    const name = policyNameOf(file);
    return !ownNames.has(name) && (wanted === null || wanted.includes(name));
  };
  const modules = read.sources.modules.filter(takes);
  const taken = new Set(modules.map(policyNameOf));
  const data = new Map([...read.sources.data].filter(([name]) => taken.has(name)));
  for (const [name, value] of sources.data) data.set(name, value);
  const options = new Map([...read.sources.options].filter(([name]) => taken.has(name)));
  for (const [name, value] of sources.options) options.set(name, value);
  return {
    kind: "sources",
    sources: {
      ...sources,
      modules: [...modules.map((file) => ({ ...file, name: PREFIX + file.name })), ...sources.modules],
      data,
      options,
    },
  };
}

/** By the package line; a module without one has its problem reported by the parser. */
function policyNameOf(file: SourceFile): string {
  return (
    /^package\s+sidegate\.policy(?:\.([a-z][a-z0-9_]*)|\["([a-z][a-z0-9_-]*)"\])/m
      .exec(file.text)
      ?.slice(1)
      .find(Boolean) ?? ""
  );
}
