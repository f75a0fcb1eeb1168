import type { VNode } from 'preact';

import type { GuardResult } from '../protocol/http-results.ts';
import type { Switch } from '../protocol/switches.ts';
import { liftSwitch, releaseGuard } from './acts.ts';
import { useConfirm } from './confirming.tsx';
import { countOf, nameOf } from './format.ts';
import { usePoller } from './poller.ts';
import { guardPoller, switchesPoller } from './registry-state.ts';
import { linkTo } from './route.ts';
import { describeSwitch } from './switch-text.ts';

/** So many are shown; all of them are on their page. */
const shownMax = 4;

/** Guards and switches in force, on top of every page. Its height is the same whatever there is. */
export function Banner(): VNode {
  const switches = usePoller(switchesPoller);
  const guard = usePoller(guardPoller);
  const standing = switches.value?.switches ?? [];
  const guards = describeGuards(guard.value);
  const failure = switches.error ?? guard.error;
  const isQuiet = standing.length === 0 && guards.length === 0;
  const isUnknown = switches.value === undefined && guard.value === undefined;
  return (
    <section class={`banner ${isQuiet ? '' : 'in-force'}`} aria-label="In force" tabIndex={0}>
      {failure === undefined ? null : (
        <span class="chip failed" title={failure.message}>
          {failure.message}
        </span>
      )}
      {isQuiet && failure === undefined ? (
        <span class="quiet">{isUnknown ? 'Reading…' : 'No switch is in force, no guard holds back.'}</span>
      ) : null}
      {guards.length === 0 ? null : <GuardChip guards={guards} guard={guard.value!} />}
      {standing.slice(0, shownMax).map((each) => (
        <SwitchChip key={describeSwitch(each) + each.since} standing={each} />
      ))}
      {standing.length > shownMax ? (
        <a class="chip" href={linkTo('switches')}>
          {countOf(standing.length - shownMax, 'more switch')}
          {standing.length - shownMax === 1 ? '' : 'es'}
        </a>
      ) : null}
    </section>
  );
}

function describeGuards(guard: GuardResult | undefined): readonly string[] {
  if (guard === undefined) return [];
  const ofServices = guard.services.map(({ key, missing, total }) => `${nameOf(key)}: ${missing} of ${total} missing`);
  const whole = `the registry: ${guard.missingSessions} of ${guard.sessions} sessions missing`;
  return guard.isHolding ? [whole, ...ofServices] : ofServices;
}

function GuardChip({ guards, guard }: { readonly guards: readonly string[]; readonly guard: GuardResult }): VNode {
  const confirm = useConfirm();
  const { heldInstances: instances, heldSessions: sessions } = guard;
  return (
    <span class="chip guard">
      <span title={guards.join('\n')}>
        guard holds {countOf(instances, 'instance')} ({guards[0]})
      </span>
      <button
        type="button"
        onClick={() => {
          confirm(releaseGuard({ instances, sessions }));
        }}
      >
        Release
      </button>
    </span>
  );
}

function SwitchChip({ standing }: { readonly standing: Switch }): VNode {
  const confirm = useConfirm();
  const { by, reason, since, until } = standing;
  const details = [
    `since ${new Date(since).toLocaleString()}`,
    until === undefined ? 'until it is lifted' : `until ${new Date(until).toLocaleString()}`,
    by === undefined ? '' : `by ${by}`,
    reason ?? '',
  ];
  return (
    <span class="chip">
      <span title={details.filter((part) => part !== '').join('\n')}>{describeSwitch(standing)}</span>
      <button
        type="button"
        aria-label={`Lift ${describeSwitch(standing)}`}
        onClick={() => {
          confirm(liftSwitch(standing));
        }}
      >
        Lift
      </button>
    </span>
  );
}
