/**
 * For each alert of charts/gateway/alerts: series with which it fires, and series that look alike with which it must not. Series are in
 * promtool's notation, one value a minute: `0x10` is eleven zeros, `0+1x10` counts up.
 */
export interface AlertCase {
  readonly alert: string;
  /** Minute at which it is looked at. */
  readonly at: number;
  /** Minutes between two values and two evaluations; 1 where not given. */
  readonly every?: number;
  readonly fires: Readonly<Record<string, string>>;
  readonly silent: Readonly<Record<string, string>>;
}

const HALF_HOUR = 30;
const HOUR = 60;
const DAY = 24 * HOUR;
const seconds = (days: number): number => days * 86_400;

const INFINITE = Array.from({ length: 11 }, () => "Inf").join(" ");

const operations = (verdict: string, code: string): string =>
  `sidegate_operations_total{namespace="shop",pod="a",protocol="http",verdict="${verdict}",code="${code}"}`;

/** Born with one: what happens once, rarely. Silent: it happened long ago. */
const once = (alert: string, series: string): AlertCase => ({
  alert,
  at: 30,
  fires: { [series]: "_x27 1x10" },
  silent: { [series]: "1x40" },
});

const oom =
  'kube_pod_init_container_status_last_terminated_reason{namespace="shop",pod="a",container="sidegate",reason="OOMKilled"}';
const restarts = 'kube_pod_init_container_status_restarts_total{namespace="shop",pod="a",container="sidegate"}';
const periods = 'container_cpu_cfs_periods_total{namespace="shop",pod="a",container="sidegate"}';
const throttled = 'container_cpu_cfs_throttled_periods_total{namespace="shop",pod="a",container="sidegate"}';
const bucket = (le: string): string =>
  `sidegate_admission_duration_seconds_bucket{instance="w",path="mutate",le="${le}"}`;

export const ALERT_CASES: readonly AlertCase[] = [
  {
    alert: "SidegateWebhookDown",
    at: 10,
    fires: { up: "0x10" },
    silent: { 'sidegate_certificate_expiry_seconds{instance="w"}': "9999999999x10" },
  },
  {
    alert: "SidegateWebhookCallsFail",
    at: 10,
    fires: {
      'apiserver_admission_webhook_rejection_count{name="namespaces.inject.sidegate.dev",error_type="calling_webhook_error"}':
        "0+1x10",
    },
    silent: {
      // It refused, as it should; and somebody else's webhook fails.
      'apiserver_admission_webhook_rejection_count{name="namespaces.inject.sidegate.dev",error_type="no_error"}':
        "0+1x10",
      'apiserver_admission_webhook_rejection_count{name="hook.example.com",error_type="calling_webhook_error"}':
        "0+1x10",
    },
  },
  {
    alert: "SidegateWebhookErrors",
    at: 15,
    fires: { 'sidegate_admission_reviews_total{path="mutate",outcome="failed",reason=""}': "0+1x15" },
    silent: { 'sidegate_admission_reviews_total{path="mutate",outcome="denied",reason="spec"}': "0+9x15" },
  },
  {
    alert: "SidegateWebhookSlow",
    at: 40,
    fires: { [bucket("0.1")]: "0+50x40", [bucket("1")]: "0+100x40", [bucket("+Inf")]: "0+100x40" },
    silent: { [bucket("0.01")]: "0+100x40", [bucket("0.1")]: "0+100x40", [bucket("+Inf")]: "0+100x40" },
  },
  {
    alert: "SidegateCertificateEnds",
    at: 20,
    fires: { 'sidegate_controller_certificate_expiry_seconds{instance="c"}': `${seconds(6)}x20` },
    silent: {
      'sidegate_certificate_expiry_seconds{instance="w"}': `${seconds(8)}x20`,
      // On a Unix socket it has none.
      'sidegate_collector_certificate_expiry_seconds{instance="s"}': "0x20",
    },
  },
  {
    alert: "SidegateNoLeader",
    at: 10,
    fires: { 'sidegate_leader{instance="a"}': "0x10", 'sidegate_leader{instance="b"}': "0x10" },
    silent: { 'sidegate_leader{instance="a"}': "0x10", 'sidegate_leader{instance="b"}': "1x10" },
  },
  {
    alert: "SidegateSeveralLeaders",
    at: 10,
    fires: { 'sidegate_leader{instance="a"}': "1x10", 'sidegate_leader{instance="b"}': "1x10" },
    silent: { 'sidegate_leader{instance="a"}': "0x10", 'sidegate_leader{instance="b"}': "1x10" },
  },
  {
    alert: "SidegatePolicyNotReady",
    at: 20,
    fires: { 'sidegate_policies{kind="AgentPolicy",ready="False"}': "1x20" },
    silent: { 'sidegate_policies{kind="AgentPolicy",ready="True"}': "1x20" },
  },
  {
    alert: "SidegateDrift",
    at: 20,
    fires: { 'sidegate_drifted_pods{instance="a",what="outside"}': "2x20", 'sidegate_leader{instance="a"}': "1x20" },
    // What a replica counted while it still led.
    silent: {
      'sidegate_drifted_pods{instance="a",what="outside"}': "2x20",
      'sidegate_leader{instance="a"}': "0x20",
      'sidegate_drifted_pods{instance="b",what="outside"}': "0x20",
      'sidegate_leader{instance="b"}': "1x20",
    },
  },
  once(
    "SidegateConfigurationRestored",
    'sidegate_guard_restored_total{instance="c",kind="MutatingWebhookConfiguration",how="deleted"}',
  ),
  {
    alert: "SidegateDefinitionsBehind",
    at: 10,
    fires: { 'sidegate_definitions{instance="c",state="behind"}': "1x10" },
    // Another release's are left alone on purpose; and one that was behind for a moment.
    silent: {
      'sidegate_definitions{instance="c",state="newer"}': "4x10",
      'sidegate_definitions{instance="c",state="changed"}': "0x4 1 0x10",
    },
  },
  {
    alert: "SidegateObserveEnds",
    at: 10,
    fires: { sidegate_observe_end_timestamp_seconds: "80000x10" },
    silent: { sidegate_observe_end_timestamp_seconds: `${seconds(3)}x10` },
  },
  {
    alert: "SidegateFrozen",
    at: 90,
    fires: { 'sidegate_freezes{scope="pod"}': "1x90" },
    silent: { 'sidegate_freezes{scope="pod"}': "1x30 0x60" },
  },
  {
    alert: "SidegateVersionSkew",
    at: 90,
    fires: {
      'sidegate_build_info{pod="a",version="0.1.0",node="v26"}': "1x90",
      'sidegate_control_build_info{process="controller",version="0.2.0",node="v26"}': "1x90",
    },
    silent: {
      'sidegate_build_info{pod="a",version="0.2.0",node="v26"}': "1x90",
      'sidegate_control_build_info{process="controller",version="0.2.0",node="v27"}': "1x90",
    },
  },
  {
    alert: "SidegateNoBundle",
    at: 10,
    fires: { 'sidegate_tier_info{namespace="shop",instance="a",tier="enforced"}': "1x10" },
    silent: {
      'sidegate_tier_info{namespace="shop",instance="a",tier="enforced"}': "1x10",
      'sidegate_policy_info{namespace="shop",instance="a",revision="r1",mode="enforce"}': "1x10",
    },
  },
  {
    alert: "SidegateBundleStale",
    at: 30,
    fires: { 'sidegate_policy_updates_total{namespace="shop",instance="a",outcome="unreachable"}': "0+2x30" },
    // One short interruption with its quick retries.
    silent: { 'sidegate_policy_updates_total{namespace="shop",instance="a",outcome="unreachable"}': "0x18 9x12" },
  },
  once("SidegateBundleRefused", 'sidegate_policy_updates_total{namespace="shop",instance="a",outcome="refused"}'),
  {
    alert: "SidegateDenialsSurge",
    at: 110,
    fires: { [operations("deny", "not_allowed")]: "0+6x90 1140+600x30" },
    silent: { [operations("deny", "not_allowed")]: "0+300x120" },
  },
  once("SidegateDecisionErrors", operations("deny", "policy_out_of_fuel")),
  once("SidegateFailsClosed", operations("deny", "audit_unavailable")),
  once("SidegateUnrecorded", 'sidegate_audit_unrecorded_total{namespace="shop",instance="a"}'),
  {
    alert: "SidegateSpoolFills",
    at: 10,
    fires: { 'sidegate_spool_seconds_left{namespace="shop",pod="a"}': "300x10" },
    silent: { 'sidegate_spool_seconds_left{namespace="shop",pod="a"}': INFINITE },
  },
  once("SidegateCredentialFailures", operations("deny", "credential_unavailable")),
  once(
    "SidegateClientTrustsNothing",
    'sidegate_tls_handshakes_total{namespace="shop",pod="a",outcome="tls-untrusted-by-agent"}',
  ),
  {
    alert: "SidegateOutOfMemory",
    at: 20,
    fires: { [oom]: "1x20", [restarts]: "0x15 1x5" },
    silent: { [oom]: "1x40", [restarts]: "1x40" },
  },
  {
    alert: "SidegateThrottled",
    at: 40,
    fires: { [periods]: "0+600x40", [throttled]: "0+300x40" },
    silent: { [periods]: "0+600x40", [throttled]: "0+30x40" },
  },
  {
    alert: "SidegateCollectorDown",
    at: 10,
    fires: { sidegate_collector_ready: "0x10" },
    silent: { sidegate_collector_ready: "1x10" },
  },
  {
    alert: "SidegateCollectorVolumeFills",
    at: 2 * HOUR,
    fires: {
      sidegate_collector_disk_used_bytes: `1000+1x${2 * HOUR}`,
      sidegate_collector_disk_limit_bytes: `2000x${2 * HOUR}`,
    },
    silent: {
      sidegate_collector_disk_used_bytes: `1000+1x${2 * HOUR}`,
      sidegate_collector_disk_limit_bytes: `20000x${2 * HOUR}`,
    },
  },
  {
    alert: "SidegateCollectorVolumeFull",
    at: 10,
    fires: { sidegate_collector_disk_left_seconds: "1200x10", sidegate_collector_full: "0x10" },
    silent: { sidegate_collector_disk_left_seconds: INFINITE, sidegate_collector_full: "0x10" },
  },
  once("SidegateChainBroken", 'sidegate_collector_findings_total{finding="chain"}'),
  {
    alert: "SidegateRecordDoesNotVerify",
    at: 10,
    fires: { 'sidegate_collector_verify_findings{kind="other"}': "1x10" },
    silent: { 'sidegate_collector_verify_findings{kind="tail"}': "1x10" },
  },
  {
    alert: "SidegateRecordNotVerified",
    at: 3 * DAY,
    every: HALF_HOUR,
    fires: {
      'sidegate_collector_verify_timestamp_seconds{instance="s"}': `0x${(3 * DAY) / HALF_HOUR}`,
      'process_start_time_seconds{instance="s"}': `0x${(3 * DAY) / HALF_HOUR}`,
    },
    // Made anew an hour ago: it has not had the time.
    silent: {
      'sidegate_collector_verify_timestamp_seconds{instance="s"}': `0x${(3 * DAY) / HALF_HOUR}`,
      'process_start_time_seconds{instance="s"}': `${seconds(3) - 3_600}x${(3 * DAY) / HALF_HOUR}`,
    },
  },
  {
    alert: "SidegateSidecarsSilent",
    at: 30,
    fires: { 'sidegate_collector_senders{state="missing"}': "1x30" },
    silent: { 'sidegate_collector_senders{state="running"}': "9x30" },
  },
];
