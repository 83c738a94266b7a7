/** Who runs this, as the record names them. A uid without an account (containers have such) is called by its number. */
import { userInfo } from "node:os";

export function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return String(process.getuid?.() ?? "unknown");
  }
}
