import { encodeInstance } from '../src/protocol/instance-encoding.ts';
import { hashRegistration } from '../src/protocol/registration-digest.ts';
import { serviceKey } from '../src/protocol/service-key.ts';
import type { InstanceInput } from '../src/protocol/types.ts';
import { describeMark } from '../test/support/marked-content.ts';

/** Some of them not ASCII, some with a hash tag. */
export const services: readonly string[] = [
  'pay',
  'ship',
  'mail',
  '{eu}stock',
  '{eu}price',
  'größe/世界',
  'com.example.Orders:1.0@dubbo',
  'a',
  'b',
  'c',
];
/** Its instances are large, so that slow readers cannot keep up. */
export const bulkyService = 'bulky';
/** Few, so that clients register the same ones (SE7). */
export const ids = ['i1', 'i2', 'i3', 'i4', 'i5', 'i6'] as const;
export const bulkyIds: readonly string[] = Array.from({ length: 24 }, (_, i) => `i${i + 100}`);
const bulk = 'x'.repeat(8000);

/** Of a content that comes too late to count, and must never be seen. */
export const lateMark = -1;

/** The mark says everything of the content. */
export function createInstance(service: string, id: string, mark: number): InstanceInput {
  const { color, ...content } = describeMark(mark);
  const metadata = { color, mark: String(mark), ...(service === bulkyService ? { filling: bulk } : {}) };
  return { id, host: 'h', port: 1, ...content, metadata };
}

/** What the registry calls the hash of a registration (SE8). */
export function hashInstance(service: string, id: string, mark: number): string {
  return hashRegistration(serviceKey({ service }), encodeInstance(createInstance(service, id, mark)).fragment);
}
