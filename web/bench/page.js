// What run.mjs calls in the page.

const made = {};
window.bench = {
  // Loads a contender: bootmae, tfjs or jaxjs.
  async start(name, batch) {
    const { create } = await import(`./${name}.js`);
    made[name] = await create(batch);
  },
  // Trains so many steps: milliseconds of each, until its loss was read, and the losses; bootmae's own benchmark
  // answers with its median.
  async measure(name, steps, profile) {
    const contender = made[name];
    if (contender.measure) return contender.measure(steps, profile);
    const [ms, losses] = [[], []];
    for (let i = 0; i < steps; i++) {
      const began = performance.now();
      losses.push(await contender.step());
      ms.push(performance.now() - began);
    }
    return { ms, losses };
  },
};
