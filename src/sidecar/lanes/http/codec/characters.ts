/** Character classes of RFC 9110 as tables over latin1: one load a byte. */

/** tchar (section 5.6.2): names and methods. */
export const TOKEN: Uint8Array = new Uint8Array(256);
for (const c of "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
  TOKEN[c.charCodeAt(0)] = 1;

/** What a field value may contain (section 5.5): VCHAR, obs-text, SP, HTAB; no other control byte. */
export const VALUE: Uint8Array = new Uint8Array(256);
VALUE[9] = 1;
for (let c = 0x20; c < 0x100; c++) VALUE[c] = c === 0x7f ? 0 : 1;

export function isToken(text: string): boolean {
  if (text === "") return false;
  for (let i = 0; i < text.length; i++) if (TOKEN[text.charCodeAt(i)] !== 1) return false;
  return true;
}
