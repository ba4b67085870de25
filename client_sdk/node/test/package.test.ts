// What is published, installed elsewhere.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';

const run = promisify(execFile);
const PACKAGE = join(__dirname, '..');
const OURS = join(PACKAGE, 'node_modules');

const PROGRAM = `
  const { Backend, FrontEnd, ClientUnknown } = require('pixied-client');
  const faye = require('pixied-client/faye');
  console.log(typeof Backend, typeof FrontEnd, typeof ClientUnknown, typeof faye.create);
`;

const TYPED_PROGRAM = `
  import { Backend, FrontEnd, jsonMessage, type Batch, type ClientInfo, type Detached } from 'pixied-client';
  import { create, type FayeEngineOptions } from 'pixied-client/faye';

  const options: FayeEngineOptions = { address: 'unix:///run/pixied', deduplicate: false };
  const made: Promise<ClientInfo> = new Backend().createClient({ sessionTimeoutMs: 1000 });
  const frontEnd = new FrontEnd({ onBatch: (batch: Batch) => console.log(batch.handles.length) });
  frontEnd.on('detached', (clientId: string, detached: Detached) => console.log(clientId, detached.reason));
  // @ts-expect-error no such option
  frontEnd.publish([jsonMessage('/a', 1, { identifier: 'x' })]);
  console.log(options, made, create);
`;

describe('the package', () => {
  let home: string;
  let installed: string;

  before(async () => {
    home = await mkdtemp(join(tmpdir(), 'pixied-package-'));
    // `npm test` has just built it.
    const flags = ['--ignore-scripts', '--json', '--pack-destination', home];
    const { stdout } = await run('npm', ['pack', ...flags], { cwd: PACKAGE });
    const [{ filename }] = JSON.parse(stdout) as [{ filename: string }];
    installed = join(home, 'node_modules', 'pixied-client');
    await mkdir(installed, { recursive: true });
    await run('tar', ['-xzf', join(home, filename), '-C', installed, '--strip-components=1']);
    const { dependencies } = JSON.parse(await readFile(join(installed, 'package.json'), 'utf8')) as {
      dependencies: object;
    };
    // As npm would, but with nothing that the package does not ask for.
    for (const name of Object.keys(dependencies)) {
      await mkdir(join(home, 'node_modules', name, '..'), { recursive: true });
      await symlink(join(OURS, name), join(home, 'node_modules', name));
    }
  });
  after(() => rm(home, { recursive: true, force: true }));

  it('holds the program, its types, the README and the licence, and nothing else', async () => {
    assert.deepEqual((await readdir(installed)).sort(), ['LICENSE', 'README.md', 'dist', 'package.json']);
    const files = await readdir(join(installed, 'dist'), { recursive: true });
    for (const file of ['src/index.js', 'src/index.d.ts', 'src/faye/index.js', 'src/faye/index.d.ts']) {
      assert(files.includes(file), `${file} is there`);
    }
    assert.deepEqual(
      files.filter((file) => /test/.test(file)),
      [],
    );
  });

  it('is there for require and for import', async () => {
    const required = await run(process.execPath, ['-e', PROGRAM], { cwd: home });
    assert.equal(required.stdout, 'function function function function\n');
    const program = "import { Backend } from 'pixied-client'; import faye from 'pixied-client/faye';";
    await writeFile(join(home, 'program.mjs'), `${program} console.log(typeof Backend, typeof faye.create);`);
    const imported = await run(process.execPath, ['program.mjs'], { cwd: home });
    assert.equal(imported.stdout, 'function function\n');
  });

  it('has types that a strict program can use', async () => {
    await symlink(join(OURS, '@types'), join(home, 'node_modules', '@types'));
    await symlink(join(OURS, 'undici-types'), join(home, 'node_modules', 'undici-types'));
    await writeFile(join(home, 'program.ts'), TYPED_PROGRAM);
    const flags = ['--strict', '--noEmit', '--module', 'node16', '--target', 'es2022', '--types', 'node'];
    await run(process.execPath, [join(OURS, 'typescript', 'bin', 'tsc'), ...flags, 'program.ts'], { cwd: home });
  });
});
