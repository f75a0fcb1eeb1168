import type { VNode } from 'preact';
import { useEffect, useMemo, useState } from 'preact/hooks';

import type { Instance } from '../client/index.ts';
import type { ClaimSummary, ServiceInspection } from '../protocol/http-results.ts';
import { parseServiceKey } from '../protocol/service-key.ts';
import type { Switch } from '../protocol/switches.ts';
import { ActMenu } from './act-menu.tsx';
import { drainInstance, liftSwitch, overrideInstance, switchServiceOff } from './acts.ts';
import { useConfirm } from './confirming.tsx';
import { countOf, formatDuration, nameOf } from './format.ts';
import { useLiveService } from './live-service.ts';
import type { LiveService } from './live-service.ts';
import { inspectService } from './orders.ts';
import { Poller, usePoller } from './poller.ts';
import { drainHost, freezePushes, quarantineService, removeInstance } from './rare-acts.ts';
import { switchesPoller } from './registry-state.ts';
import { linkTo } from './route.ts';
import { SearchField } from './search-field.tsx';
import { describeOverride, describeSwitch, statesOf } from './switch-text.ts';
import { VirtualList } from './virtual-list.tsx';

/** Claims that are read with the service; of others when they are looked at. */
const claimsMax = 1000;
const inspectMs = 3000;

/** What is not passing, and whether its health threshold keeps it all the same. */
function healthOf({ health, protected: isProtected }: Instance): readonly string[] {
  return [...(health === undefined ? [] : [health]), ...(isProtected === true ? ['protected'] : [])];
}

function ofService(key: string, { namespace, group, service }: Switch): boolean {
  return service !== undefined && `${namespace}/${group}/${service}` === key;
}

export function ServicePage({ subject: key }: { readonly subject: string }): VNode {
  const live = useLiveService(key);
  const [query, setQuery] = useState('');
  const [selected, setSelected] = useState<string>();
  const poller = useMemo(() => new Poller(() => inspectService(key, { limit: claimsMax }), inspectMs), [key]);
  const { value: inspection, error } = usePoller(poller);
  useEffect(() => {
    // Who owns what has changed with it.
    if (live.changeCount > 0) poller.refresh();
  }, [poller, live.changeCount]);
  const { value: switches } = usePoller(switchesPoller);
  const standing = useMemo(() => (switches?.switches ?? []).filter((each) => ofService(key, each)), [switches, key]);
  const claims = useMemo(() => groupClaims(inspection), [inspection]);
  const registered = useMemo(() => listRegistered(live, inspection), [live, inspection]);
  const found = useMemo(() => {
    const words = query.toLowerCase();
    return words === '' ? registered : registered.filter((each) => JSON.stringify(each).toLowerCase().includes(words));
  }, [registered, query]);
  const chosen = registered.find(({ id }) => id === selected);
  return (
    <>
      <ServiceHead
        serviceKey={key}
        live={live}
        inspection={inspection}
        refusal={inspection === undefined ? error?.message : undefined}
        standing={standing}
        states={statesOf(key, switches?.switches ?? [])}
        count={registered.length}
      >
        <SearchField label="Search instances" value={query} onChange={setQuery} />
      </ServiceHead>
      <div class="split">
        <VirtualList
          label={`Instances of ${nameOf(key)}`}
          kind="instances"
          columns={['Instance', 'State', 'Weight', 'Zone', 'Owner', 'Claims']}
          rowHeights={[36, 58]}
          count={found.length}
          keyOf={(row) => `${found[row]?.id} ${live.changes.get(found[row]?.id ?? '') ?? 0}`}
          classOf={(row) => {
            const id = found[row]?.id ?? '';
            return `${live.changes.has(id) ? 'flash' : ''} ${id === selected ? 'selected' : ''}`;
          }}
          onOpen={(row) => {
            setSelected(found[row]?.id);
          }}
          empty={live.failure === '' ? (live.isPending ? 'Reading…' : 'No instances.') : live.failure}
          renderRow={(row) => {
            const instance = found[row];
            if (instance === undefined) return null;
            const own = standing.filter(({ id }) => id === instance.id);
            return <InstanceCells instance={instance} claims={claims.get(instance.id) ?? []} standing={own} />;
          }}
        />
        {chosen === undefined ? (
          <aside class="detail vacant" aria-label="Instance">
            <p>Choose an instance to see what it holds, and to act on it.</p>
          </aside>
        ) : (
          <InstanceDetail
            key={chosen.id}
            serviceKey={key}
            instance={chosen}
            claims={claims.get(chosen.id)}
            standing={standing.filter(({ id }) => id === chosen.id)}
            onClose={() => {
              setSelected(undefined);
            }}
          />
        )}
      </div>
    </>
  );
}

function groupClaims(inspection: ServiceInspection | undefined): ReadonlyMap<string, readonly ClaimSummary[]> {
  const groups = new Map<string, ClaimSummary[]>();
  for (const claim of inspection?.claims ?? []) {
    const group = groups.get(claim.id);
    if (group === undefined) groups.set(claim.id, [claim]);
    else group.push(claim);
  }
  return groups;
}

/** As subscribers see it; of a service that is switched off, as it is registered. */
function listRegistered(live: LiveService, inspection: ServiceInspection | undefined): readonly Instance[] {
  if (!live.isSwitchedOff) return live.instances;
  return (inspection?.claims ?? []).filter(({ isShown }) => isShown).map(({ registered }) => registered);
}

interface ServiceHeadProps {
  readonly serviceKey: string;
  readonly live: LiveService;
  readonly inspection: ServiceInspection | undefined;
  /** Why it is not known. */
  readonly refusal: string | undefined;
  readonly standing: readonly Switch[];
  readonly states: readonly string[];
  readonly count: number;
  readonly children: VNode;
}

function ServiceHead(props: ServiceHeadProps): VNode {
  const { serviceKey, live, inspection, refusal, standing, states, count, children } = props;
  const confirm = useConfirm();
  const off = standing.find(({ kind }) => kind === 'service-off');
  const { namespace, group, service } = parseServiceKey(serviceKey);
  return (
    <header class="page-head">
      <h1>
        <a href={linkTo('services')} class="back" aria-label="All services">
          ‹
        </a>
        {service}
        {[...new Set([...(live.isSwitchedOff ? ['off'] : []), ...states])].map((state) => (
          <span class={`badge ${state}`} key={state}>
            {state}
          </span>
        ))}
        {live.isStale && !live.isPending ? <span class="badge warn">stale</span> : null}
      </h1>
      {children}
      <p class="figures" role="status">
        {countOf(count, 'instance')} ·{' '}
        {inspection === undefined ? (refusal ?? '…') : countOf(inspection.subscribers, 'subscriber')}
        {` · ${namespace}/${group}`}
        {live.version === 0 ? '' : ` · version ${live.version}`}
      </p>
      <div class="act">
        <ActMenu
          acts={[
            ['Freeze pushes…', freezePushes(serviceKey)],
            ['Quarantine…', quarantineService(serviceKey)],
          ]}
        />
        {off === undefined ? (
          <button
            type="button"
            class="danger"
            onClick={() => {
              confirm(switchServiceOff(serviceKey, count));
            }}
          >
            Switch off
          </button>
        ) : (
          <button
            type="button"
            class="primary"
            onClick={() => {
              confirm(liftSwitch(off));
            }}
          >
            Switch on
          </button>
        )}
      </div>
    </header>
  );
}

interface InstanceCellsProps {
  readonly instance: Instance;
  readonly claims: readonly ClaimSummary[];
  readonly standing: readonly Switch[];
}

function InstanceCells({ instance, claims, standing }: InstanceCellsProps): VNode {
  const { id, weight, enabled, zone = '', metadata = {} } = instance;
  const owner = claims.find(({ isShown }) => isShown)?.owner;
  const health = healthOf(instance);
  return (
    <>
      <span role="gridcell" class="name" title={id}>
        {id}
        {metadata['version'] === undefined ? null : <span class="dim"> v{metadata['version']}</span>}
      </span>
      <span role="gridcell" class="badges">
        {health.map((word) => (
          <span class={`badge ${word}`} key={word}>
            {word}
          </span>
        ))}
        {enabled ? null : <span class="badge off">disabled</span>}
        {standing.map((each) => (
          <span class="badge warn" key={each.kind} title={describeSwitch(each)}>
            {each.kind === 'instance-drain' ? 'draining' : each.kind === 'instance-override' ? 'override' : each.kind}
          </span>
        ))}
      </span>
      <span role="gridcell" class="number">
        {weight}
      </span>
      <span role="gridcell">{zone}</span>
      <span role="gridcell" class="dim">
        {instance.persistent === true ? 'persistent' : (owner?.app ?? owner?.address ?? '')}
      </span>
      <span role="gridcell" class="number">
        {claims.length === 0 ? '' : claims.length}
      </span>
    </>
  );
}

interface InstanceDetailProps {
  readonly serviceKey: string;
  readonly instance: Instance;
  /** Undefined: they have not been read with the service. */
  readonly claims: readonly ClaimSummary[] | undefined;
  readonly standing: readonly Switch[];
  readonly onClose: () => void;
}

function InstanceDetail(props: InstanceDetailProps): VNode {
  const { serviceKey: key, instance, standing, onClose } = props;
  const { id } = instance;
  const confirm = useConfirm();
  const [read, setRead] = useState<readonly ClaimSummary[]>([]);
  const isMissing = props.claims === undefined;
  useEffect(() => {
    if (!isMissing) return;
    inspectService(key, { id }).then(
      (found) => {
        setRead(found.claims);
      },
      () => {
        setRead([]);
      },
    );
  }, [key, id, isMissing]);
  const claims = props.claims ?? read;
  const override = standing.find(({ kind }) => kind === 'instance-override')?.override;
  const drain = standing.find(({ kind }) => kind === 'instance-drain');
  const { host, port, weight, enabled, zone, metadata = {} } = instance;
  const health = healthOf(instance);
  const facts: readonly (readonly [string, string])[] = [
    ['Address', `${host}:${port}`],
    ['Weight', String(weight)],
    ['Takes traffic', enabled ? 'yes' : 'no'],
    ['Zone', zone ?? '–'],
    ['Health', health.length === 0 ? 'passing' : health.join(', ')],
    ...Object.entries(metadata),
  ];
  return (
    <aside class="detail" aria-label="Instance">
      <h2>
        {id}
        <button type="button" class="plain close" aria-label="Close" onClick={onClose}>
          ✕
        </button>
      </h2>
      <div class="buttons">
        <button
          type="button"
          onClick={() => {
            confirm(overrideInstance(key, id, override ?? {}));
          }}
        >
          Override…
        </button>
        <button
          type="button"
          disabled={drain !== undefined}
          onClick={() => {
            confirm(drainInstance(key, id));
          }}
        >
          Drain…
        </button>
        <ActMenu
          acts={[
            [`Drain host ${instance.host}…`, drainHost(instance.host)],
            ['Remove…', removeInstance(key, id)],
          ]}
        />
      </div>
      {standing.map((each) => (
        <p class="standing" key={each.kind}>
          <span>{each.override === undefined ? each.kind : `override: ${describeOverride(each.override)}`}</span>
          <button
            type="button"
            onClick={() => {
              confirm(liftSwitch(each));
            }}
          >
            Lift
          </button>
        </p>
      ))}
      <dl>
        {facts.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      <h3>Claims</h3>
      <ul class="claims">
        {claims.map((claim) => (
          <li key={claim.owner?.session ?? ''}>
            <ClaimView claim={claim} />
          </li>
        ))}
      </ul>
    </aside>
  );
}

function ClaimView({ claim: { owner, isShown, registered } }: { readonly claim: ClaimSummary }): VNode {
  const state = isShown ? 'shown' : 'hidden by a later one';
  const content = `weight ${registered.weight}${registered.enabled ? '' : ', disabled'}`;
  if (owner === undefined) {
    return (
      <>
        {registered.persistent === true ? 'persistent' : 'a session that has ended'} · {state} · {content}
      </>
    );
  }
  return (
    <>
      <a href={linkTo('sessions', owner.session)}>{owner.app ?? owner.session}</a> {owner.address} · {owner.state} for{' '}
      {formatDuration(owner.ageMs)} · {state} · registered with {content}
    </>
  );
}
