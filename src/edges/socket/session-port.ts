import type { HealthCheck } from '../../control/health.ts';
import type { MainCalls } from '../../control/main-calls.ts';
import type { Failure } from '../../protocol/errors.ts';
import { answerFailure, answerJson } from '../../transport/http-answer.ts';
import type { HttpAnswer, PlainRequest } from '../../transport/transport.ts';

const checks: ReadonlyMap<string, HealthCheck> = new Map([
  ['/health/live', 'live'],
  ['/health/started', 'started'],
  ['/health/ready', 'ready'],
]);

/** What the port of sessions answers over HTTP: health, and where everything else is. */
export async function answerPlainRequest(
  { method, path }: PlainRequest,
  main: Pick<MainCalls, 'checkHealth' | 'readHttpUrl'>,
): Promise<HttpAnswer> {
  const check = checks.get(path);
  if (check === undefined) {
    return answerFailure(misdirect(await main.readHttpUrl()));
  }
  if (method !== 'GET' && method !== 'HEAD') {
    const { headers, ...refusal } = answerFailure({ code: 'unknown_method', message: `${method} is not served here` });
    return { ...refusal, headers: { ...headers, Allow: 'GET, HEAD' } };
  }
  const { isHealthy, ...state } = await main.checkHealth(check);
  return answerJson(JSON.stringify(state), isHealthy ? 200 : 503);
}

function misdirect(url: string | undefined): Failure {
  if (url === undefined) {
    return { code: 'misdirected', message: 'this port is for sessions: this server serves no HTTP' };
  }
  const message = `this port is for sessions: HTTP is served at ${url}`;
  const { port, protocol } = new URL(url);
  // An URL leaves out the port that its scheme has by itself.
  return { code: 'misdirected', message, httpPort: Number(port || (protocol === 'https:' ? '443' : '80')) };
}
