/**
 * Requests that two parsers could read differently, each with why. None of them may reach an upstream (THREATS, rows H1 and H2).
 * Every entry is one connection's worth of bytes.
 */
interface Shape {
  readonly name: string;
  readonly bytes: string;
}

const HOST = "Host: billing.test\r\n";
const get = (target: string): string => `GET ${target} HTTP/1.1\r\n${HOST}\r\n`;
const fields = (lines: string): string => `GET / HTTP/1.1\r\n${HOST}${lines}\r\n`;
const post = (lines: string, body: string): string => `POST / HTTP/1.1\r\n${HOST}${lines}\r\n${body}`;
const chunked = (body: string): string => post("Transfer-Encoding: chunked\r\n", body);
const SMUGGLED = "GET /admin HTTP/1.1\r\nHost: billing.test\r\n\r\n";

const FRAMING: readonly Shape[] = [
  { name: "a length and chunks", bytes: post("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\nG") },
  { name: "chunks and a length", bytes: post("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", "5c\r\n") },
  { name: "two different lengths", bytes: post("Content-Length: 0\r\nContent-Length: 44\r\n", SMUGGLED) },
  { name: "two equal lengths", bytes: post("Content-Length: 1\r\nContent-Length: 1\r\n", "a") },
  { name: "a list of lengths", bytes: post("Content-Length: 1, 1\r\n", "a") },
  { name: "a signed length", bytes: post("Content-Length: +1\r\n", "a") },
  { name: "a negative length", bytes: post("Content-Length: -1\r\n", "a") },
  { name: "a hexadecimal length", bytes: post("Content-Length: 0x1\r\n", "a") },
  { name: "an octal length", bytes: post("Content-Length: 010\r\n", "0123456789") },
  { name: "an empty length", bytes: post("Content-Length:\r\n", "") },
  { name: "a length with a space in it", bytes: post("Content-Length: 1 0\r\n", "0123456789") },
  { name: "another coding", bytes: post("Transfer-Encoding: gzip\r\n", "") },
  { name: "a coding in front of chunked", bytes: post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n") },
  { name: "chunked twice", bytes: post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n") },
  { name: "identity behind chunked", bytes: post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n") },
  {
    name: "two coding fields",
    bytes: post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
  },
  { name: "a misspelt coding", bytes: post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n") },
  { name: "a quoted coding", bytes: post('Transfer-Encoding: "chunked"\r\n', "0\r\n\r\n") },
  { name: "an empty coding", bytes: post("Transfer-Encoding:\r\n", "0\r\n\r\n") },
  { name: "a coding with a vertical tab", bytes: post("Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n") },
  { name: "chunks in HTTP/1.0", bytes: `POST / HTTP/1.0\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n` },
  { name: "a length with an underscore", bytes: post("Content_Length: 5\r\n", "") },
  { name: "a coding with an underscore", bytes: post("Transfer_Encoding: chunked\r\n", "") },
  {
    name: "a Connection that names the length",
    bytes: post("Connection: Content-Length\r\nContent-Length: 1\r\n", "a"),
  },
  { name: "a Connection that names Host", bytes: fields("Connection: close, Host\r\n") },
  { name: "a Connection that names a credential", bytes: fields("Connection: Authorization\r\nAuthorization: x\r\n") },
  { name: "an unknown expectation", bytes: post("Expect: 200-ok\r\nContent-Length: 1\r\n", "a") },
];

const LINES: readonly Shape[] = [
  { name: "a bare LF behind the request line", bytes: `GET / HTTP/1.1\n${HOST}\r\n` },
  { name: "bare LFs only", bytes: "GET / HTTP/1.1\nHost: billing.test\n\n" },
  { name: "a bare LF behind a field", bytes: `GET / HTTP/1.1\r\n${HOST}X: a\nY: b\r\n\r\n` },
  { name: "a bare LF as the empty line", bytes: `GET / HTTP/1.1\r\n${HOST}\n` },
  { name: "a bare CR in a value", bytes: fields("X: a\rY: b\r\n") },
  { name: "a bare CR in the request line", bytes: `GET /\rX HTTP/1.1\r\n${HOST}\r\n` },
  { name: "CR CR LF", bytes: fields("X: a\r\r\n") },
  { name: "a folded line", bytes: fields("X: a\r\n b\r\n") },
  { name: "a line folded by a tab", bytes: fields("X: a\r\n\tb\r\n") },
  { name: "a folded first field", bytes: `GET / HTTP/1.1\r\n ${HOST}\r\n` },
  { name: "NUL in a value", bytes: fields("X: a\0b\r\n") },
  { name: "NUL in a name", bytes: fields("X\0: b\r\n") },
  { name: "another control byte in a value", bytes: fields("X: a\x01b\r\n") },
  { name: "DEL in a value", bytes: fields("X: a\x7fb\r\n") },
  { name: "a space before a colon", bytes: fields("X : b\r\n") },
  { name: "a tab before a colon", bytes: fields("X\t: b\r\n") },
  { name: "a field without a colon", bytes: fields("X\r\n") },
  { name: "an empty name", bytes: fields(": b\r\n") },
  { name: "a name in quotes", bytes: fields('"X": b\r\n') },
  { name: "a name beyond ASCII", bytes: fields("X\xe4: b\r\n") },
  { name: "a name with a parenthesis", bytes: fields("X(: b\r\n") },
  { name: "two Content-Types", bytes: fields("Content-Type: text/plain\r\nContent-Type: text/html\r\n") },
  { name: "two Authorizations", bytes: fields("Authorization: a\r\nAuthorization: b\r\n") },
  { name: "a second empty line in front", bytes: `\r\n\r\n${SMUGGLED}` },
  { name: "a bare LF in front", bytes: `\n${SMUGGLED}` },
];

const REQUEST_LINE: readonly Shape[] = [
  { name: "no version", bytes: `GET /\r\n${HOST}\r\n` },
  { name: "HTTP/0.9", bytes: `GET / HTTP/0.9\r\n${HOST}\r\n` },
  { name: "HTTP/1.2", bytes: `GET / HTTP/1.2\r\n${HOST}\r\n` },
  { name: "HTTP/2.0", bytes: `GET / HTTP/2.0\r\n${HOST}\r\n` },
  { name: "HTTP/1.10", bytes: `GET / HTTP/1.10\r\n${HOST}\r\n` },
  { name: "a lower-case version", bytes: `GET / http/1.1\r\n${HOST}\r\n` },
  { name: "a version in front of the target's end", bytes: `GET / HTTP/1.1 /admin HTTP/1.1\r\n${HOST}\r\n` },
  { name: "two spaces in front of the target", bytes: `GET  / HTTP/1.1\r\n${HOST}\r\n` },
  { name: "two spaces behind the target", bytes: `GET /  HTTP/1.1\r\n${HOST}\r\n` },
  { name: "a space behind the version", bytes: `GET / HTTP/1.1 \r\n${HOST}\r\n` },
  { name: "a tab as a separator", bytes: `GET\t/\tHTTP/1.1\r\n${HOST}\r\n` },
  { name: "a space in front of the method", bytes: ` GET / HTTP/1.1\r\n${HOST}\r\n` },
  { name: "a method that is no token", bytes: `G@T / HTTP/1.1\r\n${HOST}\r\n` },
  { name: "a method in brackets", bytes: `[GET] / HTTP/1.1\r\n${HOST}\r\n` },
  { name: "a method without an end", bytes: `${"G".repeat(40)} / HTTP/1.1\r\n${HOST}\r\n` },
];

const TARGETS: readonly Shape[] = [
  ["no slash in front", "admin"],
  ["two slashes in front", "//evil.test/"],
  ["two slashes", "/a//b"],
  ["two slashes at the end", "/a//"],
  ["a dot segment", "/a/./b"],
  ["a dot segment at the end", "/a/."],
  ["two dots", "/a/../admin"],
  ["two dots at the end", "/a/.."],
  ["encoded dots", "/a/%2e%2e/admin"],
  ["half encoded dots", "/a/.%2E/admin"],
  ["an encoded dot", "/a/%2e/admin"],
  ["dots in front of a parameter", "/a/..;x=1/admin"],
  ["dots in front of an encoded parameter", "/a/..%3bx/admin"],
  ["an empty segment with a parameter", "/a/;x/admin"],
  ["an encoded slash", "/a%2fb"],
  ["an encoded slash in upper case", "/a%2Fb"],
  ["an encoded backslash", "/a%5cb"],
  ["a backslash", "/a\\..\\admin"],
  ["an encoded NUL", "/a%00"],
  ["an encoded NUL in the query", "/a?b=%00"],
  ["an encoded line feed", "/a%0ab"],
  ["an encoded CR and LF", "/a%0d%0aX:%20y"],
  ["an encoded DEL", "/a%7f"],
  ["a percent sign alone", "/a%"],
  ["one digit", "/a%2"],
  ["no digits", "/a%zz"],
  ["a percent sign alone in the query", "/a?b=100%"],
  ["an overlong slash", "/a%c0%afb"],
  ["bytes that are no UTF-8", "/a%ff"],
  ["bytes beyond ASCII", "/\xc3\xa4"],
  ["bytes beyond ASCII in the query", "/a?b=\xe4"],
  ["a fragment", "/a#b"],
  ["a fragment behind a query", "/a?b#c"],
  ["a quotation mark", '/a"b'],
  ["an angle bracket", "/a<b"],
  ["an asterisk with GET", "*"],
  ["another scheme", "ftp://billing.test/"],
  ["user and password", "http://user:pass@billing.test/"],
  ["user and password before another host", "http://billing.test@evil.test/"],
  ["an absolute form without an authority", "http:///admin"],
  ["an absolute form with dots", "http://billing.test/../admin"],
  ["an absolute form with a backslash", "http://billing.test\\@evil.test/"],
].map(([name = "", target = ""]) => ({ name: `a target with ${name}`, bytes: get(target) }));

const HOSTS: readonly Shape[] = [
  { name: "no Host", bytes: "GET / HTTP/1.1\r\n\r\n" },
  { name: "two Hosts", bytes: `GET / HTTP/1.1\r\n${HOST}${HOST}\r\n` },
  { name: "two different Hosts", bytes: `GET / HTTP/1.1\r\n${HOST}Host: evil.test\r\n\r\n` },
  { name: "an empty Host", bytes: "GET / HTTP/1.1\r\nHost:\r\n\r\n" },
  { name: "a Host with a path", bytes: "GET / HTTP/1.1\r\nHost: billing.test/x\r\n\r\n" },
  { name: "a Host with a user", bytes: "GET / HTTP/1.1\r\nHost: a@billing.test\r\n\r\n" },
  { name: "a Host with a space", bytes: "GET / HTTP/1.1\r\nHost: billing.test evil.test\r\n\r\n" },
  { name: "a Host list", bytes: "GET / HTTP/1.1\r\nHost: billing.test, evil.test\r\n\r\n" },
];

const CHUNKS: readonly Shape[] = [
  ["a size with a sign", "+5\r\nhello\r\n0\r\n\r\n"],
  ["a size with a prefix", "0x5\r\nhello\r\n0\r\n\r\n"],
  ["a size with a space in front", " 5\r\nhello\r\n0\r\n\r\n"],
  ["a size with a space behind", "5 \r\nhello\r\n0\r\n\r\n"],
  ["no size", "\r\nhello\r\n0\r\n\r\n"],
  ["a size that is no number", "g\r\nhello\r\n0\r\n\r\n"],
  ["a size of nine digits", "000000005\r\nhello\r\n0\r\n\r\n"],
  ["a size that a 32-bit parser would cut", "100000005\r\nhello\r\n0\r\n\r\n"],
  ["a bare LF behind the size", "5\nhello\r\n0\r\n\r\n"],
  ["a bare CR behind the size", "5\rhello\r\n0\r\n\r\n"],
  ["an LF in an extension", "5;a\nb\r\nhello\r\n0\r\n\r\n"],
  ["a CR in an extension", "5;a\rb\r\nhello\r\n0\r\n\r\n"],
  ["NUL in an extension", "5;a\0\r\nhello\r\n0\r\n\r\n"],
  ["an empty extension", "5;\r\nhello\r\n0\r\n\r\n"],
  ["white space in front of an extension", "5 ;a=b\r\nhello\r\n0\r\n\r\n"],
  ["an extension with an open quotation", '5;a="b\r\nhello\r\n0\r\n\r\n'],
  ["data shorter than the size", "5\r\nhell\r\n0\r\n\r\n"],
  ["data longer than the size", "5\r\nhello!\r\n0\r\n\r\n"],
  ["a bare LF behind the data", "5\r\nhello\n0\r\n\r\n"],
  ["no line end behind the data", "5\r\nhello0\r\n\r\n"],
  ["a bare LF behind the last chunk", "0\n\r\n"],
  ["a bare LF as the empty line", "0\r\nX: y\r\n\n"],
  ["a trailer with a length", "0\r\nContent-Length: 5\r\n\r\n"],
  ["a trailer with a coding", "0\r\nTransfer-Encoding: chunked\r\n\r\n"],
  ["a trailer with a Host", "0\r\nHost: evil.test\r\n\r\n"],
  ["a trailer with a credential", "0\r\nAuthorization: x\r\n\r\n"],
  ["a folded trailer", "0\r\nX: y\r\n z\r\n\r\n"],
  ["a trailer with a control byte", "0\r\nX: \x01\r\n\r\n"],
].map(([name = "", body = ""]) => ({ name: `chunks with ${name}`, bytes: chunked(body) }));

export const DESYNC: readonly Shape[] = [...FRAMING, ...LINES, ...REQUEST_LINE, ...TARGETS, ...HOSTS, ...CHUNKS];
