import type { components, operations, paths } from "./api";

type Workspace = components["schemas"]["Workspace"];
type Problem = components["schemas"]["Problem"];
type Made = operations["createWorkspace"]["responses"][202]["content"]["application/json"];
type Query = NonNullable<paths["/v1/workspaces"]["get"]["parameters"]["query"]>;

// A state is one of a list, an error has a kind or none, and a parent may be null.
export const starting = (made: Made): boolean => made.status.state === "starting";
export const age = (w: Workspace, now: number): number => now - w.created;
export const conflict = (p: Problem): boolean => p.kind === "conflict";
export const query: Query = { state: "running", label: ["team=a"], limit: 10 };
export const root: components["schemas"]["WorkspacePatch"] = { parent: null };

// @ts-expect-error: there is no such state.
export const wrong: Query = { state: "gone" };
