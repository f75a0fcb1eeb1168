#!/usr/bin/env node
import { Command, CommanderError, InvalidArgumentError } from 'commander';

import { productVersion } from '../runtime/product-version.ts';
import { addAccessCommands } from './access-commands.ts';
import { addAuditCommands } from './audit-command.ts';
import { addBackupCommands } from './backup-commands.ts';
import { addBenchCommand } from './bench-command.ts';
import { addCertCommand } from './cert-command.ts';
import { addCompletionCommand } from './completion-command.ts';
import { addConfigCommand } from './config-command.ts';
import { addDeclareCommand } from './declare-command.ts';
import { addDoctorCommand } from './doctor-command.ts';
import { describeError, exitCodeOf, exitCodes, exitCodesHelp } from './exit-codes.ts';
import { addExportCommand } from './export-command.ts';
import { addGoawayCommand } from './goaway-command.ts';
import { addGuardCommands } from './guard-command.ts';
import { addImportCommand } from './import-command.ts';
import { addKeyCommands } from './key-commands.ts';
import { addPartitionCommands } from './partition-commands.ts';
import { addPingCommand } from './ping-command.ts';
import { addReadCommands } from './read-commands.ts';
import { addDeregisterCommand, addRegisterCommand } from './register-command.ts';
import { addSessionsCommand } from './sessions-command.ts';
import { addStartCommand } from './start-command.ts';
import { addStatsCommand } from './stats-command.ts';
import { addSwitchCommands } from './switch-commands.ts';
import { addTopCommand } from './top-command.ts';
import { addWatchCommand } from './watch-command.ts';

const examples = `
Examples:
  slotcast start --port 7070
  slotcast register orders 127.0.0.1:8080 --meta version=2
  slotcast instances orders --json
  slotcast watch orders
  slotcast kv put config/limit 10
  slotcast kv lock nightly-job -- ./job.sh
  slotcast doctor
  slotcast sessions --behind
  slotcast partitions 4
  slotcast bench hot-service --html report.html
  slotcast off orders --reason 'bad release' --for 10m
  slotcast goaway --percent 25 --spread-ms 10000
  slotcast export registry.jsonl
  slotcast import --from consul kv.json --dry-run
  slotcast backup registry.backup
  slotcast audit show --what switch --since 2d`;

/** `slotcast … | head`, or a terminal that was closed: nobody reads any more, which is no failure. */
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE' || error.code === 'EIO') process.exit(exitCodes.done);
  throw error;
});

const program = new Command('slotcast')
  .description('A service registry for one big machine.')
  .version(productVersion)
  .addHelpText('after', `${examples}\n${exitCodesHelp}`)
  .exitOverride();
addStartCommand(program);
addConfigCommand(program);
addPingCommand(program);
addReadCommands(program);
addWatchCommand(program);
addRegisterCommand(program);
addDeregisterCommand(program);
addDeclareCommand(program);
addKeyCommands(program);
addPartitionCommands(program);
addBenchCommand(program);
addStatsCommand(program);
addTopCommand(program);
addDoctorCommand(program);
addSessionsCommand(program);
addSwitchCommands(program, addGuardCommands(program));
addGoawayCommand(program);
addExportCommand(program);
addImportCommand(program);
addBackupCommands(program);
addAuditCommands(program);
addCertCommand(program);
addAccessCommands(program);
addCompletionCommand(program);

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof InvalidArgumentError) {
    // Found by a command, and not by the parser, which would have said so.
    console.error(`slotcast: ${error.message}`);
    process.exitCode = exitCodes.usage;
  } else if (error instanceof CommanderError) {
    // It has said already what was wrong. Help and version are no errors.
    process.exitCode = error.exitCode === 0 ? exitCodes.done : exitCodes.usage;
  } else {
    console.error(`slotcast: ${describeError(error)}`);
    process.exitCode = exitCodeOf(error);
  }
}
