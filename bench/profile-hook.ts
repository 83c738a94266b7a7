/** In the profiled bundle only: on SIGUSR2, a JavaScript CPU profile is begun, and at the next one it is written beside the bundle. */
import { writeFileSync } from "node:fs";
import { Session } from "node:inspector/promises";
import path from "node:path";

const session = new Session();
let running = false;
process.on("SIGUSR2", () => {
  if (running) {
    void session.post("Profiler.stop").then(({ profile }) => {
      writeFileSync(path.join(import.meta.dirname, "js.cpuprofile"), JSON.stringify(profile));
    });
    return;
  }
  running = true;
  session.connect();
  void session
    .post("Profiler.enable")
    .then(() => session.post("Profiler.setSamplingInterval", { interval: 200 }))
    .then(() => session.post("Profiler.start"));
});
