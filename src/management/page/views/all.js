// All views: at which place each is, and who may see it.

import { h } from '../dom.js';
import { heading } from '../parts.js';
import { channel, channels } from './channels.js';
import { connection, connections } from './connections.js';
import { definitions } from './definitions.js';
import { exchange } from './exchange.js';
import { exchanges } from './exchanges.js';
import { limits } from './limits.js';
import { log } from './log.js';
import { node } from './node.js';
import { overview } from './overview.js';
import { policies } from './policies.js';
import { queue } from './queue.js';
import { queues } from './queues.js';
import { topology } from './topology.js';
import { user, users } from './users.js';
import { vhosts } from './vhosts.js';

// `names` is how many names follow that of the view in the address.
export const VIEWS = [
  { name: 'overview', names: 0, show: overview },
  { name: 'queues', names: 0, show: queues },
  { name: 'queues', names: 2, show: queue },
  { name: 'exchanges', names: 0, show: exchanges },
  { name: 'exchanges', names: 2, show: exchange },
  { name: 'topology', names: 0, show: topology },
  { name: 'connections', names: 0, show: connections },
  { name: 'connections', names: 1, show: connection },
  { name: 'channels', names: 0, show: channels },
  { name: 'channels', names: 1, show: channel },
  { name: 'users', names: 0, show: users, level: 'administrator' },
  { name: 'users', names: 1, show: user, level: 'administrator' },
  { name: 'vhosts', names: 0, show: vhosts },
  { name: 'policies', names: 0, show: policies },
  { name: 'limits', names: 0, show: limits },
  { name: 'definitions', names: 0, show: definitions, level: 'administrator' },
  { name: 'node', names: 0, show: node, level: 'monitoring' },
  { name: 'log', names: 0, show: log, level: 'administrator' },
];

export const NAVIGATION = [
  { view: 'overview', text: 'Overview' },
  { view: 'queues', text: 'Queues' },
  { view: 'exchanges', text: 'Exchanges' },
  { view: 'topology', text: 'Topology' },
  { view: 'connections', text: 'Connections' },
  { view: 'channels', text: 'Channels' },
  { view: 'users', text: 'Users', level: 'administrator' },
  { view: 'vhosts', text: 'Virtual hosts' },
  { view: 'policies', text: 'Policies' },
  { view: 'limits', text: 'Limits' },
  { view: 'definitions', text: 'Definitions', level: 'administrator' },
  { view: 'node', text: 'Node', level: 'monitoring' },
  { view: 'log', text: 'Log', level: 'administrator' },
];

// What is shown where there is no view.
export function missing() {
  const { node } = heading('Nothing is here');
  return { title: 'Nothing is here', content: [node, h('p', 'There is no such view, or it is not for you. ', h('a', { href: '#/overview' }, 'Overview'))] };
}
