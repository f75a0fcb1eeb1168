import { request } from 'node:http';

import type { ListResult } from '../protocol/types.ts';

/** Where a server serves HTTP. */
export interface HttpEndpoint {
  readonly host: string;
  readonly port: number;
}

/** Asks over HTTP what a namespace holds: another way than the one by which it came there. */
export async function countRegistered(
  endpoint: HttpEndpoint,
  namespace: string,
): Promise<{ services: number; instances: number }> {
  let [services, instances] = [0, 0];
  for (let cursor: string | undefined; ;) {
    const query = new URLSearchParams({ namespace, limit: '1000', ...(cursor === undefined ? {} : { cursor }) });
    const page = JSON.parse(await get(endpoint, `/v1/services?${query}`)) as ListResult;
    services += page.services.length;
    for (const service of page.services) instances += service.instances;
    ({ cursor } = page);
    if (cursor === undefined) return { services, instances };
  }
}

/** The body of what a path answers. */
export function get({ host, port }: HttpEndpoint, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    request({ host, port, path }, (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part));
      response.once('error', reject);
      response.once('end', () => {
        const body = Buffer.concat(parts).toString();
        if (response.statusCode === 200) resolve(body);
        else reject(new Error(`GET ${path} answered ${response.statusCode}: ${body.slice(0, 200)}`));
      });
    })
      .once('error', reject)
      .end();
  });
}
