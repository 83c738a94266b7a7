/** Credentials from the parent process, over the channel that it opened: the source of a `sidegate run`. */
import { CredentialFault, type CredentialSource, type IssuedCredential, readIssued } from "#contract/credential.ts";
import type { CredentialReply, CredentialRequest } from "#contract/credential-messages.ts";

/** The process's own ends of the channel. */
export interface Channel {
  /** False: the channel is closed. */
  send(message: CredentialRequest): boolean;
  /** Messages of any kind; others than ours are left alone. */
  listen(then: (message: unknown) => void): void;
}

interface Waiting {
  readonly resolve: (issued: IssuedCredential) => void;
  readonly reject: (fault: Error) => void;
}

export function createChannelSource(channel: Channel): CredentialSource {
  const waiting = new Map<number, Waiting>();
  const changed: ((name: string, target: string | null) => void)[] = [];
  let ids = 0;

  channel.listen((message) => {
    const reply = message as CredentialReply | null;
    if (reply?.kind === "credential-changed") {
      for (const then of changed) then(reply.name, null);
      return;
    }
    if (reply?.kind !== "credential") return;
    const asked = waiting.get(reply.id);
    if (asked === undefined) return;
    waiting.delete(reply.id);
    if (!reply.ok) return asked.reject(new CredentialFault(reply.why, reply.message));
    try {
      asked.resolve(readIssued(reply.value));
    } catch (fault) {
      asked.reject(fault as Error);
    }
  });

  return {
    fetch({ name }, signal) {
      return new Promise((resolve, reject) => {
        signal.throwIfAborted();
        const id = ++ids;
        const left = (): void => {
          waiting.delete(id);
          reject(new CredentialFault("unavailable", "given up"));
        };
        signal.addEventListener("abort", left, { once: true });
        const done = (): void => signal.removeEventListener("abort", left);
        waiting.set(id, {
          resolve: (issued) => (done(), resolve(issued)),
          reject: (fault) => (done(), reject(fault)),
        });
        if (channel.send({ kind: "credential", id, name })) return;
        waiting.delete(id);
        done();
        reject(new CredentialFault("unavailable", "whoever has the credentials is gone"));
      });
    },
    onChanged: (then) => void changed.push(then),
    close() {
      for (const { reject } of waiting.values()) reject(new CredentialFault("unavailable", "closed"));
      waiting.clear();
    },
  };
}

/** Where nobody has any: every credential is unknown. */
export function createEmptySource(): CredentialSource {
  return {
    fetch: ({ name }) => Promise.reject(new CredentialFault("unknown", `no credential ${name} is configured here`)),
    onChanged() {},
    close() {},
  };
}
