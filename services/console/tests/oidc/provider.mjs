// A certified OpenID provider (https://openid.net/certification/), as strict as it is out of the box:
// PKCE required, claims in the user information, one client. Arguments: port, where it sends people back.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [port, back, algorithm] = process.argv.slice(2);
const from = createRequire(pathToFileURL(`${process.cwd()}/`));
const { default: Provider } = await import(pathToFileURL(from.resolve("oidc-provider")).href);
const { generateKeyPair, exportJWK } = await import(pathToFileURL(from.resolve("jose")).href);

const issuer = `http://localhost:${port}`;
const { privateKey } = await generateKeyPair(algorithm, { extractable: true });
const provider = new Provider(issuer, {
  jwks: { keys: [{ ...(await exportJWK(privateKey)), alg: algorithm, use: "sig", kid: "made-now" }] },
  clients: [{
    client_id: "baton",
    client_secret: "a secret: with/ signs",
    redirect_uris: [back],
    id_token_signed_response_alg: algorithm,
  }],
  pkce: { required: () => true },
  scopes: ["openid", "profile", "email", "groups"],
  claims: { openid: ["sub"], email: ["email", "email_verified"], groups: ["groups"] },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({
      sub: id,
      email: `${id}@example.com`,
      email_verified: true,
      groups: id === "olga" ? ["baton owners", "else"] : ["else"],
    }),
  }),
  cookies: { keys: ["only for this run"] },
});
provider.listen(Number(port), "127.0.0.1");
