// A Faye server whose pixied goes away says so, serves errors, and recovers by itself.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';

import faye from 'faye';

import { Cable } from './cable';
import { FayeSite } from './faye_site';
import { until, untilEqual } from './until';
import { Pixied } from './pixied';

const AWAY = '503::Backend unavailable';

describe('a Faye server whose pixied is away', () => {
  let pixied: Pixied;
  let site: FayeSite;
  let log: string[];

  beforeEach(async () => {
    log = [];
    const note = (line: string): void => void (line.includes('pixied') && log.push(line));
    faye.logger = { error: note, info: note };
    pixied = await Pixied.prepare();
  });
  afterEach(async () => {
    await site.close();
    await pixied.dispose();
    faye.logger = undefined;
  });

  const isLoggedOnce = (word: string): Promise<void> =>
    until(`the log says "${word}"`, () => log.some((line) => line.includes(word)));

  it('starts before it, answers with errors, and serves once it is there', async () => {
    site = await FayeSite.open(pixied.address);
    await isLoggedOnce('is away');
    const [reply] = await site.send({
      channel: '/meta/handshake',
      version: '1.0',
      supportedConnectionTypes: ['long-polling'],
    });
    assert.deepEqual([reply?.successful, reply?.error, reply?.clientId], [false, AWAY, undefined]);
    await pixied.run();
    await isLoggedOnce('is back');
    assert.match(await site.handshake(), /^[a-z0-9]{32}$/);
    assert.equal(log.filter((line) => line.includes('is away')).length, 1);
    assert(log.every((line) => line.includes(pixied.address) || !line.includes('is ')));
  });

  it('keeps clients from giving up their sessions, and refuses what it cannot do', async () => {
    await pixied.run();
    site = await FayeSite.open(pixied.address);
    const clientId = await site.handshake();
    await pixied.kill();
    await isLoggedOnce('is away');
    const replies = await site.send(
      { channel: '/meta/connect', clientId, connectionType: 'long-polling' },
      { channel: '/meta/subscribe', clientId, subscription: '/a' },
      { channel: '/a', clientId, data: 1, id: '3' },
    );
    assert.deepEqual(
      replies.map(({ successful, error }) => [successful, error]),
      Array(3).fill([false, AWAY]),
    );
    assert(replies.every(({ advice }) => advice?.reconnect === 'retry' && advice.interval! >= 1000));
  });

  it('lets what is asked wait while the connection changes, and is not away', async () => {
    await pixied.run();
    const cable = await Cable.to(pixied.address);
    site = await FayeSite.open(cable.address, { operationTimeout: 60_000 });
    const clientId = await site.handshake();
    await cable.unplug();
    // By the time a few requests are answered it has noticed.
    for (let i = 0; i < 5; i += 1) await fetch(`${site.url}/client.js`).then((response) => response.text());
    const asked = site.send(
      { channel: '/meta/subscribe', clientId, subscription: '/a' },
      { channel: '/a', clientId, data: 1, id: '3' },
    );
    const newcomer = site.handshake();
    for (let i = 0; i < 5; i += 1) await fetch(`${site.url}/client.js`).then((response) => response.text());
    await cable.plugIn();
    const replies = await asked;
    assert.deepEqual(
      replies.filter(({ data }) => data === undefined).map(({ successful, error }) => [successful, error]),
      Array(2).fill([true, undefined]),
    );
    assert.match(await newcomer, /^[a-z0-9]{32}$/);
    assert.deepEqual(log, []);
    await cable.dispose();
  });

  it('lets clients with lost sessions make new ones, with their subscriptions', async () => {
    await pixied.run();
    site = await FayeSite.open(pixied.address);
    const got: string[] = [];
    const subscribers = [site.client('websocket'), site.client('long-polling')];
    for (const client of subscribers) await client.subscribe('/a', (data: string) => void got.push(data));
    let subscriptions = 0;
    site.bayeux.on('subscribe', () => void (subscriptions += 1));
    await pixied.kill();
    await isLoggedOnce('is away');
    await pixied.run();
    await until('both are back', () => subscriptions === 2);
    await site.client('websocket').publish('/a', 'after');
    await untilEqual(() => got, ['after', 'after']);
  });
});
