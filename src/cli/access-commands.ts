import { InvalidArgumentError } from 'commander';
import type { Command } from 'commander';

import type {
  NewToken,
  PoliciesResult,
  Policy,
  PolicyRule,
  Token,
  TokenCreateBody,
  TokenRotateBody,
  TokensResult,
  WhoAmI,
} from '../protocol/access.ts';
import { protocolLimits } from '../protocol/limits.ts';
import { askServer } from './administration.ts';
import { readJsonFile } from './json-file.ts';
import { formatTable, formatText } from './output.ts';
import type { TableLook } from './output.ts';
import { addOutputOption, printResult } from './printing.ts';
import type { OutputOptions } from './printing.ts';
import { addHttpOptions } from './registry.ts';
import type { HttpOptions } from './registry.ts';
import { spanUpTo } from './time-span.ts';

const parseSpan = spanUpTo(protocolLimits.tokenMsMax);

type AccessOptions = HttpOptions & OutputOptions;

interface CreateOptions extends AccessOptions {
  readonly policy: readonly string[];
  readonly for?: number;
}

/** `whoami`, `token …`, `policy …`. */
export function addAccessCommands(program: Command): void {
  const whoAmI = program
    .command('whoami')
    .description('print who the registry takes the caller for, and which policies apply');
  addOutputOption(addHttpOptions(whoAmI)).action(async (options: AccessOptions) => {
    const me = await askServer<WhoAmI>(options, 'whoAmI');
    const { principal, policies, expiresAt } = me;
    const end = expiresAt === undefined ? '' : `, until ${formatText(expiresAt)}`;
    const may = policies.length === 0 ? 'no policies' : policies.map((name) => formatText(name)).join(', ');
    await printResult(options, { value: me, rows: [me], formatTable: () => `${formatText(principal)}: ${may}${end}` });
  });
  addTokenCommands(program.command('token').description('tokens, by which callers are known'));
  addPolicyCommands(program.command('policy').description('policies, which say what callers may do'));
}

function addTokenCommands(token: Command): void {
  const list = token.command('list').description('list tokens, without what is secret of them');
  addOutputOption(addHttpOptions(list)).action(async (options: AccessOptions) => {
    const result = await askServer<TokensResult>(options, 'listTokens');
    const { tokens } = result;
    await printResult(options, { value: result, rows: tokens, formatTable: (look) => formatTokens(tokens, look) });
  });
  const create = token
    .command('create')
    .description('create a token, and print it: it is shown this once')
    .argument('<name>', 'whose it is: the principal is token:NAME')
    .option('--policy <name>', 'what it may do; may be given again', collect, [])
    .option('--for <time>', 'how long it is valid, such as 12h or 90d (default: until it is revoked)', parseSpan);
  addOutputOption(addHttpOptions(create)).action(async (name: string, options: CreateOptions) => {
    const { policy: policies, for: forMs } = options;
    const body: TokenCreateBody = { name, policies, ...(forMs === undefined ? {} : { forMs }) };
    await printToken(options, await askServer<NewToken>(options, 'createToken', { body }));
  });
  const rotate = token
    .command('rotate')
    .description('create a token of the same name and policies, and print it; the one before ends a while later')
    .argument('<id>', 'as `token list` shows it')
    .option('--overlap <time>', 'how long both are valid, such as 10m (default: 1h)', parseSpan);
  addOutputOption(addHttpOptions(rotate)).action(
    async (id: string, options: AccessOptions & { readonly overlap?: number }) => {
      const { overlap } = options;
      const body: TokenRotateBody = { id, ...(overlap === undefined ? {} : { overlapMs: overlap }) };
      await printToken(options, await askServer<NewToken>(options, 'rotateToken', { body }));
    },
  );
  const revoke = token
    .command('revoke')
    .description('revoke a token: sessions that were opened with it are closed')
    .argument('<id>', 'as `token list` shows it');
  addOutputOption(addHttpOptions(revoke)).action(async (id: string, options: AccessOptions) => {
    const revoked = await askServer<Token>(options, 'revokeToken', { query: { id } });
    await printResult(options, {
      value: revoked,
      rows: [revoked],
      formatTable: () => `revoked ${formatText(revoked.id)} of ${formatText(revoked.name)}`,
    });
  });
}

function addPolicyCommands(policy: Command): void {
  const list = policy.command('list').description('list policies, a rule a line');
  addOutputOption(addHttpOptions(list)).action(async (options: AccessOptions) => {
    const result = await askServer<PoliciesResult>(options, 'listPolicies');
    const { policies } = result;
    await printResult(options, {
      value: result,
      rows: policies,
      formatTable: (look) => formatPolicies(policies, look),
    });
  });
  const put = policy
    .command('put')
    .description('store a policy, or replace the one of that name; sessions whose rights change are closed')
    .argument('<file>', 'JSON with policy, rules, principals, description; -: stdin');
  addOutputOption(addHttpOptions(put)).action(async (file: string, options: AccessOptions) => {
    const stored = await askServer<Policy>(options, 'putPolicy', { body: await readJsonFile(file) });
    await printPolicy(options, 'stored', stored);
  });
  const remove = policy
    .command('delete')
    .description('delete a policy: who names it loses what it allowed')
    .argument('<name>', 'its name');
  addOutputOption(addHttpOptions(remove)).action(async (name: string, options: AccessOptions) => {
    const deleted = await askServer<Policy>(options, 'deletePolicy', { query: { policy: name } });
    await printPolicy(options, 'deleted', deleted);
  });
}

function collect(name: string, before: readonly string[]): readonly string[] {
  if (name === '') throw new InvalidArgumentError('It must be the name of a policy.');
  return [...before, name];
}

/** The token alone is what scripts want. */
async function printToken(options: AccessOptions, created: NewToken): Promise<void> {
  await printResult(options, { value: created, rows: [created], formatTable: () => formatText(created.token) });
}

async function printPolicy(options: AccessOptions, what: string, policy: Policy): Promise<void> {
  const { rules } = policy;
  const counted = `${rules.length} ${rules.length === 1 ? 'rule' : 'rules'}`;
  await printResult(options, {
    value: policy,
    rows: [policy],
    formatTable: () => `${what} ${formatText(policy.policy)} with ${counted}`,
  });
}

function formatTokens(tokens: readonly Token[], look: TableLook): string {
  if (tokens.length === 0) return 'there is no token';
  return formatTable(
    ['ID', 'NAME', 'POLICIES', 'CREATED', 'EXPIRES'],
    tokens.map(({ id, name, policies, createdAt, expiresAt }) => [
      formatText(id),
      formatText(name),
      formatNames(policies, '-'),
      createdAt,
      expiresAt ?? '-',
    ]),
    look,
  );
}

function formatPolicies(policies: readonly Policy[], look: TableLook): string {
  if (policies.length === 0) return 'there is no policy but admin';
  return formatTable(
    ['POLICY', 'RULE', 'ACTIONS', 'OF', 'PRINCIPALS'],
    policies.flatMap(({ policy, rules, principals = [] }) =>
      (rules.length === 0 ? [undefined] : rules).map((rule) => [
        formatText(policy),
        rule === undefined ? '-' : (rule.effect ?? 'allow'),
        rule === undefined ? '-' : rule.actions.join(', '),
        rule === undefined ? '-' : formatScope(rule),
        formatNames(principals, '-'),
      ]),
    ),
    look,
  );
}

function formatScope({ namespaces, groups, services, keys }: PolicyRule): string {
  const parts = Object.entries({ namespaces, groups, services, keys }).flatMap(([kind, names]) =>
    names === undefined ? [] : [`${kind} ${formatNames(names, '')}`],
  );
  return parts.length === 0 ? 'everything' : parts.join('; ');
}

function formatNames(names: readonly string[], none: string): string {
  return names.length === 0 ? none : names.map((name) => formatText(name)).join(', ');
}
