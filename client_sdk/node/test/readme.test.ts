// What the README tells people to type works.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';

import { Pixied } from './pixied';

const PACKAGE = join(__dirname, '..');
const README = readFileSync(join(PACKAGE, 'README.md'), 'utf8');
const FAYE_PAGE = readFileSync(join(PACKAGE, '..', '..', 'docs', 'faye.md'), 'utf8');

describe('the snippets of the README and of the page about Faye', () => {
  let pixied: Pixied;

  before(async () => void (pixied = await Pixied.start()));
  after(() => pixied.dispose());

  /** What a snippet prints, run as a program of its own. */
  async function printed(name: string, more = '', page = README): Promise<string> {
    const [, code] = new RegExp(`<!-- snippet: ${name} -->\n\`\`\`js\n(.*?)\`\`\``, 's').exec(page) ?? [];
    assert(code !== undefined && code.includes('127.0.0.1:50051'), `a snippet ${name} names a server`);
    const program = code.replace('127.0.0.1:50051', pixied.address).replace('8000', '0') + more;
    const child = spawn(process.execPath, ['-e', program], { cwd: PACKAGE, stdio: ['ignore', 'pipe', 'inherit'] });
    const [output, [status]] = await Promise.all([text(child.stdout), once(child, 'exit')]);
    assert.equal(status, 0);
    return output;
  }

  it('do operations', async () => {
    assert.equal(await printed('backend'), "/chat/room { text: 'hello' }\ntrue CLIENT_UNKNOWN\n");
  });

  it('make a front-end', async () => {
    assert.equal(await printed('front end'), '/chat/room hello false\nclosed\n');
  });

  it('make a Faye server, which lets its process end when it is closed', async () => {
    const use = `
      server.on('listening', async () => {
        const client = new faye.Client(\`http://127.0.0.1:\${server.address().port}/faye\`);
        client.disable('websocket');
        await new Promise((resolve) =>
          client.subscribe('/chat', resolve).then(() => client.publish('/chat', 'it works')),
        );
        console.log('it works');
        await client.disconnect();
        bayeux.close();
        server.close();
        server.closeIdleConnections();
      });`;
    assert.equal(await printed('faye', use), 'it works\n');
    assert.equal(await printed('faye', use, FAYE_PAGE), 'it works\n');
  });
});
