// The states of a run, and what each lets a visitor do. Every control of the run follows from `controls`, and from
// nothing else.
//
// | phase | |
// |---|---|
// | idle | no run in this tab yet |
// | starting | the GPU is being prepared |
// | running, paused | steps are taken, or would be |
// | stopping | the step under way ends, and its state is kept |
// | stopped, done | ended by the visitor, or with its last step |
// | diverged, failed | ended by itself |

const ACTIVE = ["starting", "running", "paused", "stopping"];

export const isActive = (phase) => ACTIVE.includes(phase);

// `pictures`: whether any were chosen; `good`: the step of this tab's newest kept state, 0 without one; `opened`: the step
// of a checkpoint that was opened, or null; `steps`: the wished length; `offered`: whether a run of before is offered;
// `busy`: whether the network is being saved or used; `dead`: whether the computing thread is gone.
export function controls({ phase, pictures, good, opened, steps, offered, busy, dead }) {
  const active = isActive(phase);
  const steady = phase === "running" || phase === "paused";
  const from = opened ?? (active ? 0 : good);
  const resumable = !active && (opened !== null || (good > 0 && good < steps));
  const begin = !dead && !active && !busy && pictures;
  const network = !busy && (steady ? !dead : !active && good > 0);
  return {
    continue: { shown: resumable, enabled: begin && resumable, text: `Continue from step ${from}` },
    start: {
      shown: opened === null,
      enabled: begin,
      primary: !resumable && !offered,
      text: !active && good > 0 ? "Start a new run" : "Start",
      asks: good > 0,
    },
    pause: { enabled: steady && !dead, text: phase === "paused" ? "Continue" : "Pause" },
    stop: { enabled: steady && !dead },
    save: { enabled: network },
    use: { enabled: network && !dead },
    // While a run takes them over, others would come between.
    choose: { enabled: phase !== "starting" },
    offers: { enabled: !dead && !active && !busy },
    // A run that goes on keeps its settings but these.
    fields: active ? "none" : opened === null ? "all" : "resumed",
  };
}
