/** Card numbers and IBANs: both carry check digits, so what is found nearly always is one. */
import { type Detector, isAlnum, isDigit, isUpper } from "./match.ts";

const MIN_CARD = 13;
const MAX_CARD = 19;
const SPACE = 32;
const DASH = 45;

/** 13 to 19 digits (ISO/IEC 7812) in one piece or in groups with a space or dash between, that begin like a card's and pass Luhn. */
export const card: Detector = (text, start) => {
  for (let at = start; at < text.length; at++) {
    if (!isDigit(text.charCodeAt(at))) continue;
    const { digits, to } = cardDigits(text, at);
    const alone = !isAlnum(at > 0 ? text.charCodeAt(at - 1) : 0) && !isAlnum(text.charCodeAt(to));
    if (alone && digits.length >= MIN_CARD && digits.length <= MAX_CARD && isIssued(digits) && luhn(digits))
      return { from: at, to };
    at = Math.max(at, to - 1);
  }
  return null;
};

function cardDigits(text: string, from: number): { readonly digits: string; readonly to: number } {
  let digits = "";
  let to = from;
  for (let at = from; at < text.length && digits.length <= MAX_CARD; at++) {
    const c = text.charCodeAt(at);
    if (isDigit(c)) {
      digits += text.charAt(at);
      to = at + 1;
    } else if ((c !== SPACE && c !== DASH) || to !== at) break;
  }
  // Whatever goes on is too long for a card; its digits are none of the next number's.
  while (isDigit(text.charCodeAt(to))) to++;
  return { digits, to };
}

/** First digits in use for payment: 2221–2720, 3, 4, 5, 6. */
function isIssued(digits: string): boolean {
  const c = digits.charCodeAt(0) - 48;
  if (c === 2) {
    const four = Number(digits.slice(0, 4));
    return four >= 2221 && four <= 2720;
  }
  return c >= 3 && c <= 6;
}

export function luhn(digits: string): boolean {
  let sum = 0;
  for (let i = 0; i < digits.length; i++) {
    let d = digits.charCodeAt(digits.length - 1 - i) - 48;
    if (i % 2 === 1) {
      d *= 2;
      if (d > 9) d -= 9;
    }
    sum += d;
  }
  return sum % 10 === 0;
}

const MIN_IBAN = 15;
const MAX_IBAN = 34;

/** ISO 13616: country, two check digits, up to 30 letters and digits; in one piece or in groups of four. Capital letters. */
export const iban: Detector = (text, start) => {
  for (let at = start; at + 4 < text.length; at++) {
    if (!isUpper(text.charCodeAt(at)) || !isUpper(text.charCodeAt(at + 1))) continue;
    if (!isDigit(text.charCodeAt(at + 2)) || !isDigit(text.charCodeAt(at + 3))) continue;
    if (at > 0 && isAlnum(text.charCodeAt(at - 1))) continue;
    const to = ibanEnd(text, at);
    if (to > at) return { from: at, to };
  }
  return null;
};

/** Position behind an IBAN that begins here; `from` where there is none. In groups it may be followed by another capital word. */
function ibanEnd(text: string, from: number): number {
  const ends: number[] = [];
  let compact = "";
  let at = from;
  for (; at < text.length && compact.length < MAX_IBAN; at++) {
    const c = text.charCodeAt(at);
    if (isDigit(c) || isUpper(c)) compact += text.charAt(at);
    else if (c === SPACE && compact.length % 4 === 0 && text.charCodeAt(at - 1) !== SPACE) ends.push(at);
    else break;
  }
  if (!isAlnum(text.charCodeAt(at))) ends.push(text.charCodeAt(at - 1) === SPACE ? at - 1 : at);
  for (const end of ends.toReversed()) if (isIban(text.slice(from, end).replaceAll(" ", ""))) return end;
  return from;
}

export function isIban(compact: string): boolean {
  if (compact.length < MIN_IBAN || compact.length > MAX_IBAN) return false;
  let remainder = 0;
  // mod 97 over the text with the first four behind, letters as 10 to 35
  for (let i = 0; i < compact.length; i++) {
    const c = compact.charCodeAt((i + 4) % compact.length);
    const value = c <= 57 ? c - 48 : c - 55;
    remainder = (remainder * (value > 9 ? 100 : 10) + value) % 97;
  }
  return remainder === 1;
}
