import type { HealthCheck } from '../../control/health.ts';
import type { MainCalls } from '../../control/main-calls.ts';
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
    const url = await main.readHttpUrl();
    const where = url === undefined ? 'this server serves no HTTP' : `HTTP is served at ${url}`;
    return answerFailure({ code: 'misdirected', message: `this port is for sessions: ${where}` });
  }
  if (method !== 'GET' && method !== 'HEAD') {
    const { headers, ...refusal } = answerFailure({ code: 'unknown_method', message: `${method} is not served here` });
    return { ...refusal, headers: { ...headers, Allow: 'GET, HEAD' } };
  }
  const { isHealthy, ...state } = await main.checkHealth(check);
  return answerJson(JSON.stringify(state), isHealthy ? 200 : 503);
}
