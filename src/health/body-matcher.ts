import vm from 'node:vm';

import type { Finding } from './check-core.ts';

/** How long one look at a body may take, in milliseconds: an expression that goes back over it again and again would take years. */
const lookMsMax = 50;
/** An expression that took too long so many times in a row is not tried again; once may be the machine's doing. */
const strikesMax = 3;
/** Expressions that are remembered as slow. */
const slowMax = 10_000;

/** Looks for expressions that callers chose in bodies that others chose. */
export class BodyMatcher {
  readonly #sandbox: { expression?: RegExp; body?: string } = {};
  readonly #context: vm.Context = vm.createContext(this.#sandbox);
  readonly #look: vm.Script = new vm.Script('expression.test(body)');
  /** How often in a row an expression took too long: each try keeps all other checks waiting. */
  readonly #strikes: Map<string, number> = new Map();

  match(expression: string, body: string): Finding {
    const strikes = this.#strikes.get(expression) ?? 0;
    if (strikes >= strikesMax) return tooSlow;
    this.#sandbox.expression = new RegExp(expression);
    this.#sandbox.body = body;
    try {
      const isFound = this.#look.runInContext(this.#context, { timeout: lookMsMax }) as boolean;
      this.#strikes.delete(expression);
      return isFound
        ? { health: 'passing', output: 'the body matches' }
        : { health: 'critical', output: 'the body does not match' };
    } catch {
      if (strikes > 0 || this.#strikes.size < slowMax) this.#strikes.set(expression, strikes + 1);
      return tooSlow;
    } finally {
      this.#sandbox.body = '';
    }
  }
}

const tooSlow: Finding = { health: 'critical', output: `the expression takes longer than ${lookMsMax} ms` };
