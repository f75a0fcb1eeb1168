import { readFileSync } from 'node:fs';
import { relative } from 'node:path';

import ts from 'typescript';
import { expect, test } from 'vitest';

/** Calls that spread an array into their arguments, unless its type says how long it is. */
function findSpreads(files: readonly string[], options: ts.CompilerOptions): string[] {
  const program = ts.createProgram(files, options);
  const checker = program.getTypeChecker();
  const found: string[] = [];
  const isTuple = (type: ts.Type): boolean => {
    const constrained = checker.getBaseConstraintOfType(type) ?? type;
    return constrained.isUnion() ? constrained.types.every(isTuple) : checker.isTupleType(constrained);
  };
  for (const source of program.getSourceFiles()) {
    if (!files.includes(source.fileName)) continue;
    const visit = (node: ts.Node): void => {
      if (ts.isCallExpression(node) || ts.isNewExpression(node)) {
        for (const argument of node.arguments ?? []) {
          if (!ts.isSpreadElement(argument) || isTuple(checker.getTypeAtLocation(argument.expression))) continue;
          const { line } = source.getLineAndCharacterOfPosition(argument.getStart());
          found.push(`${relative(process.cwd(), source.fileName)}:${line + 1} ${node.getText().slice(0, 80)}`);
        }
      }
      ts.forEachChild(node, visit);
    };
    visit(source);
  }
  return found;
}

function readProject(): ts.ParsedCommandLine {
  const config = ts.parseConfigFileTextToJson('tsconfig.json', readFileSync('tsconfig.json', 'utf8'));
  return ts.parseJsonConfigFileContent(config.config, ts.sys, process.cwd());
}

test(
  'no call spreads an array into its arguments: one of some 120,000 elements overflows the stack',
  { timeout: 60_000 },
  () => {
    const { fileNames, options } = readProject();
    const files = fileNames.filter((name) => relative(process.cwd(), name).startsWith('src/'));
    expect(files.length).toBeGreaterThan(100);
    expect(findSpreads(files, options)).toEqual([]);
  },
);
