import { setTimeout as sleep } from 'node:timers/promises';

import { closeConnections, openConnections } from './connection.ts';
import type { Connection, Target } from './connection.ts';
import { buildTextFrame } from './frames.ts';
import { buildInstance, buildRegisterText, checkResult, requestId } from './requests.ts';
import { UsageMeter } from './usage-meter.ts';
import type { Outcome, Workload } from './workloads.ts';

type RegisterWorkload = Extract<Workload, { kind: 'register' }>;

/** Each connection registers so many instances, in two contents by turns: every registration changes something, and nothing grows. */
const instancesPerConnection = 64;
const framesPerConnection = instancesPerConnection * 2;
const services = 256;

/** Frames of one connection, end to end and equally long, so that any run of them is sent as one slice. */
function buildRing(connection: number): Buffer {
  const frames = Array.from({ length: framesPerConnection }, (_, i) => {
    const index = connection * instancesPerConnection + (i % instancesPerConnection);
    const service = `orders-${1000 + (index % services)}`;
    const instance = buildInstance(index, Math.floor(i / instancesPerConnection));
    return buildTextFrame(buildRegisterText(requestId(index), service, instance));
  });
  if (frames.some((frame) => frame.length !== frames[0]!.length)) throw new Error('frames of a ring differ in length');
  return Buffer.concat(frames);
}

class Registrant {
  readonly #connection: Connection;
  readonly #ring: Buffer;
  readonly #inFlight: number;
  #next = 0;
  #awaited = 0;
  #isStopping = false;
  #resolveStopped: () => void = () => {};
  acks = 0;
  ackBytes = 0;

  constructor(connection: Connection, ring: Buffer, inFlight: number) {
    if (framesPerConnection % inFlight !== 0)
      throw new Error(`${inFlight} in flight do not divide ${framesPerConnection} frames`);
    this.#connection = connection;
    this.#ring = ring;
    this.#inFlight = inFlight;
    connection.onText = (bytes, start, end) => {
      checkResult(bytes, start, end);
      this.acks += 1;
      this.ackBytes = end - start;
      this.#awaited -= 1;
    };
    connection.onReadEnd = () => {
      if (this.#awaited > 0) return;
      if (this.#isStopping) this.#resolveStopped();
      else this.send();
    };
  }

  send(): void {
    const frameBytes = this.#ring.length / framesPerConnection;
    const from = this.#next * frameBytes;
    this.#awaited = this.#inFlight;
    this.#next = (this.#next + this.#inFlight) % framesPerConnection;
    this.#connection.send(this.#ring.subarray(from, from + this.#inFlight * frameBytes));
  }

  /** Resolves when all that was sent has been answered. */
  stop(): Promise<void> {
    this.#isStopping = true;
    return new Promise((resolve) => {
      this.#resolveStopped = resolve;
    });
  }
}

/** Registers in a closed loop: each connection sends when it has all its answers. */
export async function runRegister(target: Target, workload: RegisterWorkload): Promise<Outcome> {
  const connections = await openConnections(target, workload.connections);
  const registrants = connections.map((connection, i) => new Registrant(connection, buildRing(i), workload.inFlight));
  const countAcks = (): number => registrants.reduce((sum, { acks }) => sum + acks, 0);
  for (const registrant of registrants) registrant.send();
  await sleep(workload.warmUpMs);
  const meter = new UsageMeter(target.pid);
  const acksBefore = countAcks();
  await sleep(workload.measureMs);
  const usage = meter.read();
  const acks = countAcks() - acksBefore;
  await Promise.all(registrants.map((registrant) => registrant.stop()));
  await closeConnections(connections);
  return { kind: 'register', usage, acks, ackBytes: registrants[0]!.ackBytes };
}
