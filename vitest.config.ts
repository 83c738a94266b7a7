import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    passWithNoTests: false,
    projects: [
      // Pure and in-process tests, beside their source.
      {
        test: {
          name: "unit",
          include: ["src/**/*.test.ts", "test/support/**/*.test.ts", "test/conformance/**/*.test.ts"],
          pool: "forks",
          testTimeout: 60_000,
        },
      },
      {
        test: { name: "architecture", include: ["test/architecture.test.ts", "test/docs/**/*.test.ts"], pool: "forks" },
      },
      // Several processes, real tools, loopback.
      {
        test: {
          name: "integration",
          include: ["test/integration/**/*.test.ts"],
          pool: "forks",
          fileParallelism: false,
          testTimeout: 120_000,
          hookTimeout: 180_000,
        },
      },
      // Inside real network namespaces.
      {
        test: {
          name: "bypass",
          include: ["test/bypass/**/*.test.ts"],
          pool: "forks",
          fileParallelism: false,
          testTimeout: 120_000,
          hookTimeout: 180_000,
        },
      },
    ],
  },
});
