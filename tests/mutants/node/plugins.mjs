// What Stryker lacks: a sample, faults that leave text for people alone, and a line for each outcome.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

import { declareClassPlugin, PluginKind } from '@stryker-mutator/api/plugin';

const { seed, most, only, folder } = JSON.parse(process.env.MUTANTS);
const sources = new Map();

/** The file, and the lines that differ without the fault and with it. Checkers and reporters count from 0 and from 1. */
function change({ fileName, location: { start, end }, replacement }, first) {
  const file = `src/${fileName.split('/src/').pop()}`;
  if (!sources.has(file)) sources.set(file, readFileSync(`${folder}/${file}`, 'utf8').split('\n'));
  const lines = sources.get(file).slice(start.line - first, end.line - first + 1);
  const rest = lines.at(-1).slice(end.column - first);
  const after = lines[0].slice(0, start.column - first) + replacement + rest;
  return { file, before: lines.join('\n').trim(), after: after.trim() };
}

/** Lets those through that are drawn: one of each line, then a second of each line that has one, and so on. */
class Drawn {
  async init() {}

  async group(mutants) {
    return [mutants.map(({ id }) => id)];
  }

  async check(mutants) {
    const drawn = new Set((only ? this.again(mutants) : this.draw(mutants)).map(({ id }) => id));
    const outcome = (id) => (drawn.has(id) ? { status: 'passed' } : { status: 'compileError', reason: 'not drawn' });
    return Object.fromEntries(mutants.map(({ id }) => [id, outcome(id)]));
  }

  again(mutants) {
    const wanted = new Set(only.map(([file, , before, after]) => JSON.stringify([file, before, after])));
    return mutants.filter((mutant) => wanted.has(JSON.stringify(Object.values(change(mutant, 0)))));
  }

  draw(mutants) {
    const turns = new Map();
    const drawnNumber = ({ id }) => createHash('sha256').update(`${seed} ${id}`).digest('hex');
    const byRank = (one, other) => (one.rank < other.rank ? -1 : 1);
    return mutants
      .map((mutant) => ({ ...mutant, rank: drawnNumber(mutant) }))
      .sort(byRank)
      .map(({ id, fileName, location, rank }) => {
        const line = `${fileName}:${location.start.line}`;
        turns.set(line, (turns.get(line) ?? 0) + 1);
        return { id, rank: String(turns.get(line)).padStart(6, '0') + rank };
      })
      .sort(byRank)
      .slice(0, most);
  }
}

/** A string with a space in it is for people. */
class Text {
  shouldIgnore({ node }) {
    const isTemplate = node.type === 'TemplateLiteral';
    const parts = isTemplate ? node.quasis.map(({ value }) => value.raw) : [String(node.value)];
    const isText = (isTemplate || node.type === 'StringLiteral') && parts.some((part) => part.includes(' '));
    return isText ? 'text for people' : undefined;
  }
}

class Lines {
  onMutationTestingPlanReady({ mutantPlans }) {
    write({ possible: mutantPlans.length });
  }

  onMutantTested(mutant) {
    const { location, status, coveredBy, killedBy } = mutant;
    if (status === 'CompileError' || status === 'Ignored') return;
    const tests = coveredBy?.length ?? 0;
    write({ ...change(mutant, 1), line: location.start.line, status, tests, by: killedBy?.[0] ?? '' });
  }
}

function write(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

export const strykerPlugins = [
  declareClassPlugin(PluginKind.Checker, 'drawn', Drawn),
  declareClassPlugin(PluginKind.Ignore, 'text', Text),
  declareClassPlugin(PluginKind.Reporter, 'lines', Lines),
];
