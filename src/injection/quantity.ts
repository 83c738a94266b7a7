/**
 * Kubernetes quantities (apimachinery `resource.Quantity`), as numbers to compare: `100m`, `0.5`, `64Mi`, `1e3`, `2G`.
 *
 * A text that is no quantity is null; callers refuse it. Doubles are exact enough: nothing here is added up.
 */
const SUFFIX: Readonly<Record<string, number>> = {
  "": 1,
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

// <signedNumber><suffix>, where the suffix is binarySI, decimalSI or a decimal exponent.
const QUANTITY = /^([+-]?(?:\d+\.?\d*|\.\d+))(?:[eE]([+-]?\d{1,3})|([numkMGTPE]|[KMGTPE]i)?)$/;

export function parseQuantity(text: string): number | null {
  const match = QUANTITY.exec(text);
  if (match === null) return null;
  const [, number, exponent, suffix] = match;
  const factor = exponent === undefined ? SUFFIX[suffix ?? ""] : 10 ** Number(exponent);
  if (factor === undefined) return null;
  return Number(number) * factor;
}

/** A request of a processor or of bytes that is at least `amount`, as short as may be. */
export function writeQuantity(resource: string, amount: number): string {
  return resource === "cpu" ? `${Math.ceil(amount * 1000)}m` : String(Math.ceil(amount));
}
