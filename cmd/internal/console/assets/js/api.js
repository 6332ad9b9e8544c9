// Calls of the console's own endpoints. A session that is over sends everybody
// back to the login.
export class Failure extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export async function call(method, path, body) {
  let response;
  try {
    response = await fetch(`api/${path}`, {
      method,
      credentials: 'same-origin',
      headers: body === undefined ? {} : { 'Content-Type': 'application/json' },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new Failure(0, 'The gateway does not answer. Is it running, and is the network up?');
  }
  let answer = null;
  try { answer = await response.json(); } catch { /* an answer without a body */ }
  if (!response.ok) {
    if (response.status === 401 && path !== 'login') window.dispatchEvent(new Event('loggedout'));
    throw new Failure(response.status, answer?.error || `The gateway answered ${response.status}.`);
  }
  return answer;
}

export const get = (path) => call('GET', path);
export const post = (path, body = {}) => call('POST', path, body);
export const part = encodeURIComponent;
