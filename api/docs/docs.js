// Fetches the OpenAPI document, with a token where permitd wants one, and has Swagger UI show it.
'use strict';

const form = document.getElementById('sign-in');
const message = document.getElementById('message');

async function load(token) {
  const headers = token ? { Authorization: 'Bearer ' + token } : {};
  const answer = await fetch('openapi.json', { headers, cache: 'no-store' });
  if (answer.status === 401 || answer.status === 403) {
    form.hidden = false;
    message.textContent = token ? (await answer.json()).detail : '';
    return;
  }
  if (!answer.ok) throw new Error('openapi.json: status ' + answer.status);
  const spec = await answer.json();
  form.hidden = true;
  message.textContent = '';
  show(spec, token);
}

function show(spec, token) {
  const ui = SwaggerUIBundle({
    spec,
    domNode: document.getElementById('reference'),
    deepLinking: true,
    showExtensions: true, // x-role
    docExpansion: 'list',
    defaultModelExpandDepth: 3,
    validatorUrl: null,
    onComplete: () => { if (token) ui.preauthorizeApiKey('token', token); },
  });
}

function failed(error) { message.textContent = 'The reference can’t be shown: ' + error.message; }

form.addEventListener('submit', (event) => {
  event.preventDefault();
  load(document.getElementById('token').value.trim()).catch(failed);
});
load('').catch(failed);
