import type { VNode } from 'preact';

import type { Switch } from '../protocol/switches.ts';
import { ActMenu } from './act-menu.tsx';
import { liftSwitch, makeReadOnly } from './acts.ts';
import { useConfirm } from './confirming.tsx';
import { formatCount, formatDuration } from './format.ts';
import { usePoller } from './poller.ts';
import { freezePushes, holdGuard, switchGuardOff } from './rare-acts.ts';
import { guardPoller, switchesPoller } from './registry-state.ts';
import { describeSwitch } from './switch-text.ts';

export function SwitchesPage(): VNode {
  const { value, error } = usePoller(switchesPoller);
  const { value: guard } = usePoller(guardPoller);
  const confirm = useConfirm();
  const standing = value?.switches ?? [];
  const isReadOnly = standing.some(({ kind }) => kind === 'read-only');
  const order = describeGuardOrder(standing);
  return (
    <>
      <header class="page-head">
        <h1>Switches</h1>
        <p class="figures" role="status">
          {error === undefined ? `${formatCount(standing.length)} in force` : error.message}
        </p>
        <div class="act">
          <ActMenu
            acts={[
              ['Freeze all pushes…', freezePushes(undefined)],
              ['Hold back all removals…', holdGuard],
              ['Switch the loss guard off…', switchGuardOff],
            ]}
          />
          <button
            type="button"
            class="danger"
            disabled={isReadOnly}
            onClick={() => {
              confirm(makeReadOnly);
            }}
          >
            Read-only…
          </button>
        </div>
      </header>
      <div class="scrolled" tabIndex={0} role="region" aria-label="Switches and guards">
        <table class="switches">
          <thead>
            <tr>
              <th scope="col">Switch</th>
              <th scope="col">Since</th>
              <th scope="col">Until</th>
              <th scope="col">Who</th>
              <th scope="col">Why</th>
              <th scope="col">
                <span class="hidden">Acts</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {standing.map((each) => (
              <tr key={describeSwitch(each) + each.since}>
                <th scope="row">{describeSwitch(each)}</th>
                <td>{new Date(each.since).toLocaleString()}</td>
                <td>{each.until === undefined ? 'it is lifted' : new Date(each.until).toLocaleString()}</td>
                <td>
                  {each.by ?? ''} <span class="dim">{each.orderedFrom}</span>
                </td>
                <td>{each.reason ?? ''}</td>
                <td>
                  <button
                    type="button"
                    aria-label={`Lift ${describeSwitch(each)}`}
                    onClick={() => {
                      confirm(liftSwitch(each));
                    }}
                  >
                    Lift
                  </button>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
        {standing.length === 0 ? (
          <p class="empty">No switch is in force. Services and instances have theirs on their pages.</p>
        ) : null}
        {guard === undefined ? null : (
          <section class="guards">
            <h2>Loss guard</h2>
            <p>
              {order === undefined ? '' : `${order} `}
              {guard.isHolding
                ? `Holds back removals for ${formatDuration(guard.holdingForMs ?? 0)}: ${formatCount(guard.missingSessions)} of ${formatCount(guard.sessions)} sessions are missing.`
                : `Quiet: ${formatCount(guard.missingSessions)} of ${formatCount(guard.sessions)} sessions with registrations are missing; it holds back from ${guard.thresholds.lossSessionsPercent} % and ${guard.thresholds.lossSessionsMin} on.`}
            </p>
          </section>
        )}
      </div>
    </>
  );
}

/** What the guard of the whole registry is ordered to do; where both orders stand, it holds back. */
function describeGuardOrder(standing: readonly Switch[]): string | undefined {
  const kinds = new Set(standing.filter(({ service }) => service === undefined).map(({ kind }) => kind));
  if (kinds.has('guard-hold')) return 'Ordered to hold back all removals.';
  return kinds.has('guard-off') ? 'Switched off: it holds nothing back.' : undefined;
}
