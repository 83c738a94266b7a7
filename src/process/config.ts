/**
 * Reads a process's configuration: strings (the environment, read in `cmd/` only) into one frozen value, once, at start.
 *
 * Fails closed and completely: every problem is reported at the same time, each with the variable's name and what to write
 * instead; no value is guessed. An empty string counts as absent (the injected pod writes every variable, also the unused ones).
 */
import { parseAddress, parseEndpoint } from "#core/cidr.ts";

export type Strings = Readonly<Record<string, string | undefined>>;

export type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  /** `expected`: what to write instead, to be read after "must be". */
  | { readonly ok: false; readonly expected: string };

export interface Kind<T> {
  parse(text: string): Parsed<T>;
}

export interface Setting<T> {
  readonly variable: string;
  readonly kind: Kind<T>;
  /** Absent: the variable is required. */
  readonly fallback?: T;
  /** The value never stands in a problem. */
  readonly secret?: boolean;
}

export type Shape = Readonly<Record<string, Setting<unknown>>>;
export type Config<S extends Shape> = { readonly [K in keyof S]: S[K] extends Setting<infer T> ? T : never };

export interface ConfigProblem {
  readonly variable: string;
  /** One sentence, escaped; safe to log. */
  readonly message: string;
}

export type ConfigReading<S extends Shape> =
  | { readonly ok: true; readonly config: Config<S> }
  | { readonly ok: false; readonly problems: readonly ConfigProblem[] };

/** Keeps the value's type while it is checked against Setting. */
export function setting<T>(
  variable: string,
  kind: Kind<T>,
  options: { fallback?: T; secret?: boolean } = {},
): Setting<T> {
  return { variable, kind, ...options };
}

export function readConfig<S extends Shape>(values: Strings, shape: S): ConfigReading<S> {
  const problems: ConfigProblem[] = [];
  const config: Record<string, unknown> = {};
  for (const [key, { variable, kind, fallback, secret }] of Object.entries(shape)) {
    const text = values[variable] ?? "";
    if (text === "") {
      if (fallback === undefined)
        problems.push({ variable, message: `${variable} is missing: it must be ${expectation(kind)}.` });
      else config[key] = fallback;
      continue;
    }
    const parsed = parse(kind, text);
    if (parsed.ok) config[key] = parsed.value;
    else {
      const shown = secret === true ? "" : ` (it is ${show(text)})`;
      problems.push({ variable, message: `${variable} must be ${parsed.expected}${shown}.` });
    }
  }
  if (problems.length > 0) return { ok: false, problems };
  return { ok: true, config: Object.freeze(config) as Config<S> };
}

/** For the log and the terminal: one line a problem. */
export function problemText(problems: readonly ConfigProblem[]): string {
  return problems.map((problem) => problem.message).join("\n");
}

function expectation(kind: Kind<unknown>): string {
  const parsed = kind.parse("");
  return parsed.ok ? "set" : parsed.expected;
}

const MAX_TEXT = 65_536;

function parse<T>(kind: Kind<T>, text: string): Parsed<T> {
  return text.length > MAX_TEXT ? { ok: false, expected: `at most ${MAX_TEXT} characters long` } : kind.parse(text);
}

function show(text: string): string {
  const cut = text.length > 60 ? `${text.slice(0, 60)}…` : text;
  return JSON.stringify(cut);
}

const no = (expected: string): { readonly ok: false; readonly expected: string } => ({ ok: false, expected });
const yes = <T>(value: T): { readonly ok: true; readonly value: T } => ({ ok: true, value });

/** Any text without control characters; `pattern` with `says` narrows it. */
export function text(options: { maxLength?: number; pattern?: RegExp; says?: string } = {}): Kind<string> {
  const { maxLength = 1024, pattern, says = `a text of 1 to ${maxLength} printable characters` } = options;
  return {
    parse: (value) =>
      value.length > 0 && value.length <= maxLength && /^\P{Cc}*$/u.test(value) && (pattern?.test(value) ?? true)
        ? yes(value)
        : no(says),
  };
}

/** Decimal digits only; both bounds included. */
export function integer(min: number, max: number): Kind<number> {
  return {
    parse: (value) => {
      const number = /^-?\d{1,15}$/.test(value) ? Number(value) : Number.NaN;
      return number >= min && number <= max ? yes(number) : no(`a whole number from ${min} to ${max}`);
    },
  };
}

export function port(): Kind<number> {
  return integer(1, 65_535);
}

export function boolean(): Kind<boolean> {
  return {
    parse: (value) => (value === "true" || value === "false" ? yes(value === "true") : no("true or false")),
  };
}

export function oneOf<const T extends string>(...choices: readonly T[]): Kind<T> {
  return {
    parse: (value) => {
      const found = choices.find((choice) => choice === value);
      return found === undefined ? no(`one of ${choices.join(", ")}`) : yes(found);
    },
  };
}

/** An absolute path without `.`, `..` or empty parts. Whether it exists is seen when it is used. */
export function absolutePath(): Kind<string> {
  return {
    parse: (value) =>
      /^(\/[^/\0]+)+$/.test(value) && !value.split("/").some((part) => part === "." || part === "..")
        ? yes(value)
        : no("an absolute path without . or .."),
  };
}

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** "250ms", "10s", "5m", "2h", "1d"; milliseconds come out, both bounds included. */
export function duration(minMs: number, maxMs: number): Kind<number> {
  return {
    parse: (value) => {
      const [, digits = "", unit = ""] = /^(\d{1,9})(ms|s|m|h|d)$/.exec(value) ?? [];
      const ms = digits === "" ? Number.NaN : Number(digits) * (UNITS[unit] ?? Number.NaN);
      return ms >= minMs && ms <= maxMs ? yes(ms) : no(`a duration such as 10s, from ${minMs}ms to ${maxMs}ms`);
    },
  };
}

/** `https://…` without user, password or fragment; the text comes out as it was. `http` only where it is asked for. */
export function httpUrl(options: { insecure?: boolean } = {}): Kind<string> {
  const says = `an ${options.insecure === true ? "http or https" : "https"} URL without user or password`;
  return {
    parse: (value) => {
      const url = URL.canParse(value) ? new URL(value) : null;
      const scheme = url?.protocol === "https:" || (options.insecure === true && url?.protocol === "http:");
      return url !== null && scheme && url.username === "" && url.password === "" && url.hash === ""
        ? yes(value)
        : no(says);
    },
  };
}

/** A numeric address. */
export function address(): Kind<string> {
  return { parse: (value) => (parseAddress(value) === null ? no("a numeric address") : yes(value)) };
}

/** `address` or `address:port` (`[v6]:port`). */
export function endpoint(): Kind<string> {
  return {
    parse: (value) =>
      parseAddress(value) === null && parseEndpoint(value) === null ? no("address or address:port") : yes(value),
  };
}

/** Comma-separated, at most `max`; no empty parts. */
export function list<T>(item: Kind<T>, max: number): Kind<readonly T[]> {
  return {
    parse: (value) => {
      const parts = value.split(",");
      const says = `up to ${max}, separated by commas, each ${expectation(item)}`;
      if (parts.length > max) return no(says);
      const items: T[] = [];
      for (const part of parts) {
        const parsed = item.parse(part.trim());
        if (!parsed.ok) return no(says);
        items.push(parsed.value);
      }
      return yes(Object.freeze(items));
    },
  };
}
