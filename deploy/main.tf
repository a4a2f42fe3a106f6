# What runs of Quatrain need in a project, and no more. docs/security.md gives the reasons, and the
# same setup as gcloud commands. The default Compute account gets no role.

locals {
  trainer = "serviceAccount:${google_service_account.trainer.email}"
}

resource "google_project_service" "apis" {
  for_each = toset(concat(
    [
      "aiplatform.googleapis.com",
      "artifactregistry.googleapis.com",
      "cloudquotas.googleapis.com",
      "cloudresourcemanager.googleapis.com",
      "compute.googleapis.com",
      "iam.googleapis.com",
      "logging.googleapis.com",
      "serviceusage.googleapis.com",
      "storage.googleapis.com",
    ],
    var.dataflow ? ["dataflow.googleapis.com"] : [],
    var.cloud_build ? ["cloudbuild.googleapis.com"] : [],
    length(var.alert_channels) + length(var.releasers) > 0 ? ["monitoring.googleapis.com"] : [],
    var.notify_topic == null ? [] : ["pubsub.googleapis.com"],
    var.notify_secret == null ? [] : ["secretmanager.googleapis.com"],
  ))

  project            = var.project
  service            = each.value
  disable_on_destroy = false
}

# Google's own accounts, which pull the images and start the machines. Without this, the first call to
# Vertex AI in a new project is refused until they exist. Only the beta provider has this resource.
resource "google_project_service_identity" "agents" {
  provider = google-beta

  project = var.project
  service = "aiplatform.googleapis.com"

  depends_on = [google_project_service.apis]
}

# The region of the jobs: training refuses dual-regions and multi-regions. There is no lifecycle_rule:
# one by age would delete the model in use, which may be older than any other. One that matches the
# prefix of the runs' artifacts alone is safe: docs/operations.md#the-copies-of-promoted-models.
resource "google_storage_bucket" "runs" {
  project                     = var.project
  name                        = coalesce(var.bucket, "${var.project}-quatrain-${var.location}")
  location                    = var.location
  storage_class               = "STANDARD"
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = false

  dynamic "encryption" {
    for_each = var.encryption_key == null ? [] : [var.encryption_key]
    content {
      default_kms_key_name = encryption.value
    }
  }

  depends_on = [google_project_service.apis]
}

resource "google_artifact_registry_repository" "images" {
  project       = var.project
  location      = var.location
  repository_id = "quatrain"
  description   = "The images that run every step of Quatrain: for CPUs, GPUs and TPUs."
  format        = "DOCKER"
  kms_key_name  = var.encryption_key

  docker_config {
    immutable_tags = true
  }

  depends_on = [google_project_service.apis]
}

resource "google_artifact_registry_repository" "templates" {
  project       = var.project
  location      = var.location
  repository_id = "quatrain-templates"
  description   = "Compiled pipelines."
  format        = "KFP"
  kms_key_name  = var.encryption_key

  depends_on = [google_project_service.apis]
}

# The account that every step and every training replica runs as.
resource "google_service_account" "trainer" {
  project      = var.project
  account_id   = "quatrain-trainer"
  display_name = "Runs of Quatrain"
}

resource "google_project_iam_member" "trainer" {
  for_each = toset(concat(
    ["roles/aiplatform.user", "roles/logging.logWriter"],
    var.dataflow ? ["roles/dataflow.developer", "roles/dataflow.worker"] : [],
    length(var.prediction_datasets) > 0 ? ["roles/bigquery.jobUser"] : [],
    length(var.request_log_datasets) > 0 ? ["roles/bigquery.readSessionUser"] : [],
  ))

  project = var.project
  role    = each.value
  member  = local.trainer
}

# The train step starts a job that runs as the same account.
resource "google_service_account_iam_member" "trainer_starts_jobs_as_itself" {
  service_account_id = google_service_account.trainer.name
  role               = "roles/iam.serviceAccountUser"
  member             = local.trainer
}

resource "google_storage_bucket_iam_member" "trainer_writes_runs" {
  bucket = google_storage_bucket.runs.name
  role   = "roles/storage.objectUser"
  member = local.trainer
}

# storage.buckets.get: the first step looks up where the bucket is before it reads a byte.
resource "google_storage_bucket_iam_member" "trainer_sees_runs" {
  bucket = google_storage_bucket.runs.name
  role   = "roles/storage.legacyBucketReader"
  member = local.trainer
}

resource "google_storage_bucket_iam_member" "trainer_reads_sources" {
  for_each = var.source_buckets

  bucket = each.value
  role   = "roles/storage.objectViewer"
  member = local.trainer
}

resource "google_storage_bucket_iam_member" "trainer_sees_sources" {
  for_each = var.source_buckets

  bucket = each.value
  role   = "roles/storage.legacyBucketReader"
  member = local.trainer
}

# The tables of predictions: `predict.table` of a spec.
resource "google_bigquery_dataset_iam_member" "trainer_writes_predictions" {
  for_each = var.prediction_datasets

  project    = split(".", each.value)[0]
  dataset_id = split(".", each.value)[1]
  role       = "roles/bigquery.dataEditor"
  member     = local.trainer
}

# What an endpoint was asked: `release.log` of a spec.
resource "google_bigquery_dataset_iam_member" "trainer_reads_request_logs" {
  for_each = var.request_log_datasets

  project    = split(".", each.value)[0]
  dataset_id = split(".", each.value)[1]
  role       = "roles/bigquery.dataViewer"
  member     = local.trainer
}

# Vertex AI writes the log, and needs no further role for it in its own project.
resource "google_bigquery_dataset_iam_member" "agent_writes_request_logs" {
  for_each = toset([for name in var.request_log_datasets : name if split(".", name)[0] != var.project])

  project    = split(".", each.value)[0]
  dataset_id = split(".", each.value)[1]
  role       = "roles/bigquery.dataEditor"
  member     = google_project_service_identity.agents.member
}

# Dataflow's workers pull the image as the account that they run as.
resource "google_artifact_registry_repository_iam_member" "workers_pull" {
  count = var.dataflow ? 1 : 0

  project    = var.project
  location   = var.location
  repository = google_artifact_registry_repository.images.name
  role       = "roles/artifactregistry.reader"
  member     = local.trainer
}

resource "google_artifact_registry_repository_iam_member" "trainer_reads_templates" {
  project    = var.project
  location   = var.location
  repository = google_artifact_registry_repository.templates.name
  role       = "roles/artifactregistry.reader"
  member     = local.trainer
}

# The last task of a run publishes its notice, and reads the address of a webhook: `notify` in cloud.yaml.
resource "google_pubsub_topic_iam_member" "trainer_publishes_notices" {
  count = var.notify_topic == null ? 0 : 1

  project = split("/", var.notify_topic)[1]
  topic   = split("/", var.notify_topic)[3]
  role    = "roles/pubsub.publisher"
  member  = local.trainer
}

resource "google_secret_manager_secret_iam_member" "trainer_reads_the_webhook" {
  count = var.notify_secret == null ? 0 : 1

  project   = split("/", var.notify_secret)[1]
  secret_id = split("/", var.notify_secret)[3]
  role      = "roles/secretmanager.secretAccessor"
  member    = local.trainer
}

resource "google_project_iam_member" "releasers_deploy" {
  for_each = var.releasers

  project = var.project
  role    = "roles/aiplatform.user"
  member  = each.value
}

resource "google_project_iam_member" "releasers_watch" {
  for_each = var.releasers

  project = var.project
  role    = "roles/monitoring.viewer"
  member  = each.value
}

resource "google_storage_bucket_iam_member" "releasers_write_schemata" {
  for_each = var.releasers

  bucket = google_storage_bucket.runs.name
  role   = "roles/storage.objectUser"
  member = each.value
}

resource "google_project_iam_member" "submitters" {
  for_each = var.submitters

  project = var.project
  role    = "roles/aiplatform.user"
  member  = each.value
}

resource "google_project_iam_member" "submitters_read_logs" {
  for_each = var.submitters

  project = var.project
  role    = "roles/logging.viewer"
  member  = each.value
}

resource "google_service_account_iam_member" "submitters_start_runs" {
  for_each = var.submitters

  service_account_id = google_service_account.trainer.name
  role               = "roles/iam.serviceAccountUser"
  member             = each.value
}

resource "google_storage_bucket_iam_member" "submitters_see_runs" {
  for_each = var.submitters

  bucket = google_storage_bucket.runs.name
  role   = "roles/storage.legacyBucketReader"
  member = each.value
}

resource "google_storage_bucket_iam_member" "submitters_read_reports" {
  for_each = var.submitters

  bucket = google_storage_bucket.runs.name
  role   = "roles/storage.objectViewer"
  member = each.value
}

resource "google_artifact_registry_repository_iam_member" "submitters_read" {
  for_each = {
    for pair in setproduct(["images", "templates"], var.submitters) : join(" ", pair) => pair
  }

  project  = var.project
  location = var.location
  repository = {
    images    = google_artifact_registry_repository.images.name
    templates = google_artifact_registry_repository.templates.name
  }[each.value[0]]
  role   = "roles/artifactregistry.reader"
  member = each.value[1]
}

resource "google_artifact_registry_repository_iam_member" "publishers_write" {
  for_each = {
    for pair in setproduct(["images", "templates"], var.publishers) : join(" ", pair) => pair
  }

  project  = var.project
  location = var.location
  repository = {
    images    = google_artifact_registry_repository.images.name
    templates = google_artifact_registry_repository.templates.name
  }[each.value[0]]
  role   = "roles/artifactregistry.writer"
  member = each.value[1]
}

# Cloud Build builds the image as this account (cloudbuild.yaml). The sources lie in the bucket.
resource "google_service_account" "builder" {
  count = var.cloud_build ? 1 : 0

  project      = var.project
  account_id   = "quatrain-builder"
  display_name = "Builds of Quatrain"
}

resource "google_project_iam_member" "builder_logs" {
  count = var.cloud_build ? 1 : 0

  project = var.project
  role    = "roles/logging.logWriter"
  member  = google_service_account.builder[0].member
}

resource "google_storage_bucket_iam_member" "builder_reads_sources" {
  count = var.cloud_build ? 1 : 0

  bucket = google_storage_bucket.runs.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.builder[0].member
}

resource "google_artifact_registry_repository_iam_member" "builder_pushes" {
  count = var.cloud_build ? 1 : 0

  project    = var.project
  location   = var.location
  repository = google_artifact_registry_repository.images.name
  role       = "roles/artifactregistry.writer"
  member     = google_service_account.builder[0].member
}

# A condition on logs must be the only one of its policy, so there are two policies.
resource "google_monitoring_alert_policy" "runs" {
  for_each = length(var.alert_channels) == 0 ? {} : {
    "A run of a pipeline failed"          = "resource.type=\"aiplatform.googleapis.com/PipelineJob\" AND log_id(\"aiplatform.googleapis.com/pipeline_job_events\") AND jsonPayload.state=\"PIPELINE_STATE_FAILED\""
    "A run of a pipeline was not started" = "log_id(\"cloudaudit.googleapis.com/activity\") AND protoPayload.serviceName=\"aiplatform.googleapis.com\" AND protoPayload.methodName:\"CreatePipelineJob\" AND severity>=ERROR"
  }

  project               = var.project
  display_name          = each.key
  combiner              = "OR"
  severity              = "ERROR"
  notification_channels = var.alert_channels

  conditions {
    display_name = each.key
    condition_matched_log {
      filter = each.value
    }
  }

  alert_strategy {
    auto_close = "86400s"
    notification_rate_limit {
      period = "3600s"
    }
  }

  documentation {
    content   = "`quatrain schedule list` prints the error of the last run and of the last start. docs/operations.md says what to do."
    mime_type = "text/markdown"
  }

  depends_on = [google_project_service.apis]
}

# Nothing ran that should have. The metrics of Vertex AI count jobs and tasks, and tell neither their model
# nor their end, so this counts the line that the last task of a run prints. A condition on absence
# looks back 23.5 hours (https://docs.cloud.google.com/monitoring/alerts/metric-absence), PromQL up to two
# years (https://docs.cloud.google.com/monitoring/alerts/using-promql).
resource "google_logging_metric" "runs" {
  for_each = length(var.alert_channels) == 0 ? {} : var.expected_runs

  project     = var.project
  name        = "quatrain_runs_${replace(each.key, "-", "_")}"
  description = "Runs of ${each.key} that succeeded."
  filter      = "resource.type=\"ml_job\" AND (jsonPayload.message=~\"^notify: ${each.key}: run [^ ]+ (promoted|held|succeeded)\" OR textPayload=~\"^notify: ${each.key}: run [^ ]+ (promoted|held|succeeded)\")"

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
  }

  depends_on = [google_project_service.apis]
}

resource "google_monitoring_alert_policy" "absent_runs" {
  for_each = length(var.alert_channels) == 0 ? {} : var.expected_runs

  project               = var.project
  display_name          = "No run of ${each.key} succeeded in ${each.value} days"
  combiner              = "OR"
  severity              = "ERROR"
  notification_channels = var.alert_channels

  conditions {
    display_name = "No run of ${each.key} succeeded in ${each.value} days"
    condition_prometheus_query_language {
      query                     = "(sum(increase(logging_googleapis_com:user_${google_logging_metric.runs[each.key].name}[${each.value}d])) or vector(0)) < 1"
      duration                  = "0s"
      evaluation_interval       = "3600s"
      disable_metric_validation = true
    }
  }

  alert_strategy {
    auto_close = "604800s"
  }

  documentation {
    content   = "`quatrain schedule list` prints whether the schedule is paused, when it starts next, and how its last run ended. docs/operations.md says what to do."
    mime_type = "text/markdown"
  }
}
