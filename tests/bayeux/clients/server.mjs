// A real Faye server on its memory engine, to compare answers with. Prints {"port": N} once it listens.
import { createServer } from 'node:http';

import faye from 'faye';

const server = createServer();
new faye.NodeAdapter({ mount: '/bayeux', timeout: 0.5 }).attach(server);
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ port: server.address().port })));
