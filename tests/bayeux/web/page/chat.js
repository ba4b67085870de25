// The page: two seats in one room, or one seat for whoever has joined by the door.
// ?client=cometd|faye gives one seat; name, transport=websocket|long-polling, and room say more.

import { Seat } from './seat.js';

const NAMES = { cometd: 'Ann', faye: 'Bob' };
const asked = new URLSearchParams(location.search);
const room = asked.get('room') || 'lobby';
const transport = asked.get('transport') === 'long-polling' ? 'long-polling' : 'websocket';
const clients = asked.get('client') in NAMES ? [asked.get('client')] : Object.keys(NAMES);
const alone = clients.length === 1;

const tabs = document.querySelector('.tabs');
const seats = clients.map((client) => {
  const name = (alone && asked.get('name')) || NAMES[client];
  return new Seat({ client, name, room, transport, onNews: () => markNews(client) });
});

for (const seat of seats) {
  document.querySelector('.seats').append(seat.element);
  tabs.append(tabOf(seat));
  seat.enter();
}
document.body.classList.toggle('alone', alone);
show(clients[0]);
openDoor();

// On a phone one seat is seen at a time.
function show(client) {
  for (const seat of seats) seat.element.classList.toggle('shown', seat.client === client);
  for (const tab of tabs.children) {
    const chosen = tab.dataset.client === client;
    tab.setAttribute('aria-pressed', chosen);
    if (chosen) tab.classList.remove('news');
  }
}

function tabOf({ client, name }) {
  const tab = document.createElement('button');
  tab.dataset.client = client;
  tab.textContent = name;
  tab.addEventListener('click', () => show(client));
  return tab;
}

function markNews(client) {
  const tab = [...tabs.children].find((one) => one.dataset.client === client);
  if (tab?.getAttribute('aria-pressed') === 'false') tab.classList.add('news');
}

function openDoor() {
  const door = document.querySelector('.door');
  door.querySelector('[name=room]').value = room;
  document.querySelector('#enter').addEventListener('click', () => door.showModal());
}

// For the tests, and for whoever looks into the console.
window.seats = Object.fromEntries(seats.map((seat) => [seat.client, seat]));
