import type { InstanceInput } from '../../src/protocol/types.ts';

/** Of the metadata that each instance carries, which differs in its first characters, in bytes. */
const contentBytes = 200;

/** The content of an instance: equally long whatever it says. */
export function buildContent(revision: number): string {
  return String(revision).padEnd(contentBytes, '-');
}

/** Instances are named by their address, as discovery names them: `host:port`. */
export function instanceId(index: number): string {
  return `10.0.${(index >> 8) & 255}.${index & 255}:${10_000 + (index >> 16)}`;
}

export function toInstance(id: string, content: string): InstanceInput {
  const [host = '', port = ''] = id.split(':');
  return { host, port: Number(port), metadata: { content } };
}

export function contentOf(metadata: Readonly<Record<string, string>> | undefined): string {
  return metadata?.['content'] ?? '';
}
