// How well the network tells the classes of its pictures apart while it trains, by their nearest neighbours: when that is
// found out, and how it is said. The network is not told the classes.

const SHARE = 0.05; // of the time, at most
const BUDGET_S = 2; // as many pictures are looked at as take this long
const STEPS_OF_PACE = 5; // after so many steps it is known how long one takes

const element = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en");
const percent = (share, digits = 0) => `${(100 * share).toFixed(digits)} %`;

// The fewest steps of 1, 2, 5, 10, 20 and so on after each of which `seconds` may be spent, where a step takes `pace`
// seconds: at most a share of the time.
export function interval(seconds, pace) {
  const least = Math.max(1, (seconds * (1 - SHARE)) / (SHARE * pace));
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map((factor) => factor * power).find((steps) => steps >= least * (1 - 1e-9));
}

// What was found, in words.
export function sayFound({ top1, chance, k, train, test, leave_one_out }) {
  const others = leave_one_out ? "the others" : `${whole.format(train)} others`;
  const right = `${whole.format(Math.round(top1 * test))} of ${whole.format(test)} pictures (${percent(top1)})`;
  return (
    `${right} have the class that their ${k} nearest neighbours among ${others} vote for, by the cosine of the encoder's features. ` +
    `Always naming the largest class would be right for ${percent(chance)}: that is chance level.`
  );
}

// When it is found out, in words; `every` steps, or null where that is not known yet; `share` of the time so far.
export function sayWhen(every, share) {
  const often = every === null ? `and then as often as takes at most ${percent(SHARE)} of the time` : `every ${whole.format(every)} ${every === 1 ? "step" : "steps"} and at the end`;
  const taken = share === null ? "" : ` It has taken ${percent(share, 1)} of the time so far.`;
  return `Found out at the start, ${often}.${taken} The network is not told the classes, and training does not change by it.`;
}

export class Neighbours {
  #engine;
  #chart;
  #on = false;
  #wished = 0; // steps between two times, 0 where they follow from the time that it takes
  #last = null; // what was found last
  #every = null;
  #known = false; // whether `#every` follows from the newest measurement
  #spent = 0; // seconds, those of what is made once left out
  #trained = 0;

  constructor(engine, chart) {
    [this.#engine, this.#chart] = [engine, chart];
  }

  // Shows or hides everything of it: pictures without classes have none.
  offer(classes) {
    element("knn-card").hidden = !classes;
    if (classes && !this.#last) this.#say();
  }

  // Begins with a run on pictures of so many classes; `every` as wished: null to let the time decide, 0 for
  // never.
  begin(classes, every) {
    this.#on = classes > 0 && every !== 0;
    this.#wished = every ?? 0;
    [this.#last, this.#every, this.#known, this.#spent, this.#trained] = [null, this.#wished || null, false, 0, 0];
    element("knn-now").textContent = "";
    element("knn-card").hidden = !this.#on;
    this.#say();
  }

  // A step took so many seconds, and `pace` on the average; `submitted` steps are on their way or done. Whether it is time.
  due(submitted, seconds, pace) {
    if (!this.#on || !this.#last) return false;
    this.#trained += seconds;
    if (!this.#known && submitted - this.#last.step >= STEPS_OF_PACE) {
      // Measured anew each time: a GPU that others use too is slower.
      this.#every = interval(this.#last.seconds, pace);
      this.#known = true;
      this.#say();
    }
    return this.#every !== null && submitted % this.#every === 0 && submitted !== this.#last.step;
  }

  // Whether nothing was found of a state yet.
  lacks(step) {
    return this.#on && this.#last?.step !== step;
  }

  // Finds out; resolves to a line for the log, if there is one to say.
  async measure() {
    const first = this.#last === null;
    const found = await this.#engine.call("training_neighbours", [BUDGET_S]);
    if (!found) {
      this.#on = false;
      element("knn-card").hidden = true;
      return null;
    }
    this.#last = found;
    this.#spent += found.seconds;
    this.#known = this.#wished > 0;
    this.#chart.level = 100 * found.chance;
    this.#chart.push(found.step, 100 * found.top1);
    element("knn-now").textContent = percent(found.top1, 1);
    this.#say();
    return first ? `After step ${found.step}, ${percent(found.top1, 1)} of ${whole.format(found.test)} pictures have the class of their nearest neighbours.` : null;
  }

  #say() {
    element("knn-result").textContent = this.#last ? sayFound(this.#last) : "";
    const share = this.#trained > 0 ? this.#spent / (this.#spent + this.#trained) : null;
    element("knn-note").textContent = sayWhen(this.#every, share);
  }
}
