data_dir = "/opt/nomad"
server {
  enabled                 = true
  bootstrap_expect        = 3
  license_path            = "/etc/nomad.d/license.hclic"
  oidc_issuer             = "https://nomad.example"
  deploy_query_rate_limit = 2
  non_production          = true
  plan_apply_pipeline     = true
  log_file                = "/var/log/nomad-server.log"
}
client { default_ineligible = true stats { enabled = true } }
ui { enabled = true label { text = "Production" } }
keyring "awskms" { active = true }
telemetry { disable_quota_utilization_metrics = true prometheus_metrics = true }
