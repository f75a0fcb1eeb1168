import { isIP } from 'node:net';

import { parseScript } from '../config/check-scripts.ts';
import type { ServerConfig } from '../config/config.ts';
import { ProbeTargets } from '../config/probe-targets.ts';
import { hasCheck, splitCheck } from '../protocol/check-definition.ts';
import type { Failure } from '../protocol/errors.ts';
import type { CheckDefinition, Instance } from '../protocol/types.ts';

export type CheckRulesConfig = Pick<ServerConfig, 'checksMax' | 'checkTargets' | 'checkScripts'>;

/** Which checks this server makes. What a name resolves to is judged with each probe; all else here, where whoever asks hears of it. */
export class CheckRules {
  readonly #config: CheckRulesConfig;
  readonly #targets: ProbeTargets;
  readonly #scripts: ReadonlySet<string>;

  constructor(config: CheckRulesConfig) {
    this.#config = config;
    this.#targets = new ProbeTargets(config.checkTargets);
    this.#scripts = new Set(config.checkScripts.flatMap((entry) => parseScript(entry)?.[0] ?? []));
  }

  /** Why an instance cannot be registered with its check. `fragment`: its canonical JSON. */
  refuse(fragment: string): Failure | undefined {
    return hasCheck(fragment) ? this.#judge(fragment) : undefined;
  }

  #judge(fragment: string): Failure | undefined {
    const { checksMax: max } = this.#config;
    if (max === 0) {
      return { code: 'limit_exceeded', message: 'this server makes no checks', limit: 'checksMax', max };
    }
    const check = JSON.parse(splitCheck(fragment).check!) as CheckDefinition;
    if (check.kind === 'ttl') return undefined;
    if (check.kind === 'script') {
      return this.#scripts.has(check.script)
        ? undefined
        : refuse('/instance/check/script', `this server defines no script ${JSON.stringify(check.script)}`);
    }
    const { host } = JSON.parse(fragment) as Instance;
    return isIP(host) === 0 || this.#targets.allows(host)
      ? undefined
      : refuse('/instance/host', `checks must not reach ${host}: the server does not list it in checkTargets`);
  }
}

function refuse(field: string, message: string): Failure {
  return { code: 'invalid_params', message, field };
}
