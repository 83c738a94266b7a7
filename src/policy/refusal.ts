/** Why a bundle is not taken. The last good one serves on; none at all means that everything is denied. */
export type BundleFaultCode =
  | "bundle_malformed" // no archive, or files that a bundle must have are missing or unreadable
  | "bundle_unsigned"
  | "bundle_signature" // wrong key, wrong algorithm, changed claims
  | "bundle_file" // a file was swapped, added or taken away
  | "bundle_scope" // signed for somebody else
  | "bundle_expired"
  | "bundle_older" // its sequence is not above what was in force before, also before a restart
  | "bundle_wasm" // the module is not one that OPA would make, or needs a built-in that we do not supply
  | "bundle_data"; // data does not fit into the policy's memory, or targets are of a wrong shape

export interface BundleFault {
  readonly kind: "refused";
  readonly code: BundleFaultCode;
  /** One sentence without a subject ("it …"), for logs and the record. */
  readonly message: string;
}
