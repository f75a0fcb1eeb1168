import type { ServerConfig } from './config.ts';

type Exposure = Pick<ServerConfig, 'host' | 'tlsCert' | 'accessControl'>;

/** Why other machines must not reach a server with these settings; undefined: they cannot, or may. */
export function explainExposure({ host, tlsCert, accessControl }: Exposure): string | undefined {
  if (isLoopbackHost(host)) return undefined;
  const missing = [
    ...(tlsCert === '' ? ['TLS (tlsCert, tlsKey)'] : []),
    ...(accessControl === 'off' ? ['access control (accessControl)'] : []),
  ];
  return missing.length === 0
    ? undefined
    : `other machines can reach ${host}, and there is no ${missing.join(' and no ')}`;
}

/** Whether only this machine can reach what listens there. */
function isLoopbackHost(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^(::ffff:)?127(\.\d{1,3}){3}$/.test(host);
}
