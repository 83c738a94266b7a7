/** How a process is bundled: for dist/ (build.ts), and for the bench, which measures the same thing. */
import type { BuildOptions } from "esbuild";

export const BUNDLE_OPTIONS = {
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node26",
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: "none",
  logLevel: "warning",
  // CommonJS packages inside an ES module ask for these.
  banner: { js: 'import{createRequire as $r}from"node:module";const require=$r(import.meta.url);' },
} as const satisfies BuildOptions;
