import type { VNode } from 'preact';
import { useEffect, useRef } from 'preact/hooks';

import type { MoveProgress, SlotsResult } from '../protocol/http-results.ts';
import { formatCount } from './format.ts';
import { usePoller } from './poller.ts';
import { partitionsPoller, slotsPoller } from './registry-state.ts';
import { useMedia } from './virtual-list.tsx';

/** Slots in a row of the map. */
const side = 128;
/** How long a slot that has moved is marked, in milliseconds. */
const markMs = 4000;

/** Hues that stay apart for as long as possible. */
function colorOf(partition: number, isDark: boolean): string {
  const hue = (partition * 137.5 + 215) % 360;
  return `hsl(${hue} 52% ${(isDark ? 46 : 58) + (partition % 3) * 6}%)`;
}

/** The owner of each slot. */
function spread({ runs }: SlotsResult): Uint16Array {
  const owners = new Uint16Array(side * side);
  let slot = 0;
  for (const { partition, slots } of runs) {
    owners.fill(partition, slot, slot + slots);
    slot += slots;
  }
  return owners;
}

export function SlotsPage(): VNode {
  const { value: slots, error } = usePoller(slotsPoller);
  const { value: described } = usePoller(partitionsPoller);
  const isDark = useMedia('(prefers-color-scheme: dark)');
  const move = described?.move;
  return (
    <>
      <header class="page-head">
        <h1>Slots</h1>
        <p class="figures" role="status">
          {error === undefined
            ? `epoch ${slots?.epoch ?? '…'} · ${formatCount(slots?.frozen.length ?? 0)} frozen`
            : error.message}
          {` · ${describeMove(move)}`}
        </p>
      </header>
      <div class="slots scrolled" tabIndex={0} role="region" aria-label="Slot map and partitions">
        <SlotMap slots={slots} isDark={isDark} />
        <table>
          <caption class="hidden">Partitions</caption>
          <thead>
            <tr>
              <th scope="col">Partition</th>
              <th scope="col">State</th>
              <th scope="col" class="number">
                Slots
              </th>
              <th scope="col" class="number">
                In flight
              </th>
            </tr>
          </thead>
          <tbody>
            {(described?.partitions ?? []).map(({ partition, state, slots: owned, requestsInFlight }) => (
              <tr key={partition}>
                <th scope="row">
                  <svg class="swatch" viewBox="0 0 1 1" aria-hidden="true">
                    <rect width="1" height="1" fill={colorOf(partition, isDark)} />
                  </svg>
                  {partition}
                </th>
                <td>
                  <span class={`badge ${state === 'ready' ? 'plain' : 'warn'}`}>{state}</span>
                </td>
                <td class="number">{formatCount(owned)}</td>
                <td class="number">{formatCount(requestsInFlight)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}

function describeMove(move: MoveProgress | undefined): string {
  if (move === undefined || move.kind === 'none') return 'nothing has moved';
  const done = `${formatCount(move.slotsMoved)} of ${formatCount(move.slotsToMove)} slots`;
  if (move.isRunning) return `${move.kind} under way: ${done}`;
  return `last change: ${move.kind}, ${done}${move.failure === undefined ? '' : `, ${move.failure}`}`;
}

function SlotMap({ slots, isDark }: { readonly slots: SlotsResult | undefined; readonly isDark: boolean }): VNode {
  const canvas = useRef<HTMLCanvasElement>(null);
  const before = useRef<Uint16Array>(undefined);
  const movedAt = useRef<Map<number, number>>(new Map());
  useEffect(() => {
    const context = canvas.current?.getContext('2d');
    if (slots === undefined || context === null || context === undefined) return undefined;
    const owners = spread(slots);
    const now = performance.now();
    for (const [slot, owner] of owners.entries()) {
      if (before.current !== undefined && before.current[slot] !== owner) movedAt.current.set(slot, now);
    }
    before.current = owners;
    const scale = (canvas.current?.width ?? side) / side;
    let frame = 0;
    const draw = (): void => {
      const at = performance.now();
      for (const [slot, owner] of owners.entries()) {
        context.fillStyle = colorOf(owner, isDark);
        context.fillRect((slot % side) * scale, Math.floor(slot / side) * scale, scale, scale);
      }
      for (const [slot, since] of movedAt.current) {
        const age = at - since;
        if (age > markMs) movedAt.current.delete(slot);
        context.fillStyle = `rgb(255 255 255 / ${Math.max(0, 1 - age / markMs)})`;
        context.fillRect((slot % side) * scale, Math.floor(slot / side) * scale, scale, scale);
      }
      context.fillStyle = isDark ? '#000' : '#fff';
      for (const slot of slots.frozen) {
        context.fillRect((slot % side) * scale + 1, Math.floor(slot / side) * scale + 1, scale - 2, scale - 2);
      }
      if (movedAt.current.size > 0) frame = requestAnimationFrame(draw);
    };
    draw();
    return () => {
      cancelAnimationFrame(frame);
    };
  }, [slots, isDark]);
  const partitions = new Set((slots?.runs ?? []).map(({ partition }) => partition)).size;
  return (
    <figure>
      <canvas
        ref={canvas}
        width={side * 4}
        height={side * 4}
        role="img"
        aria-label={`Map of ${formatCount(side * side)} slots, owned by ${partitions} partitions; the table has the numbers.`}
      />
      <figcaption>Each cell is a slot, 128 in a row. White: just moved. With a hole: frozen.</figcaption>
    </figure>
  );
}
