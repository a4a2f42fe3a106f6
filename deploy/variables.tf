variable "project" {
  description = "Project that runs the jobs."
  type        = string
}

variable "location" {
  description = "Region of the jobs, of the bucket and of the repositories."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.location))
    error_message = "Training needs a single region, for example us-central1. EU and eur4 span several."
  }
}

variable "bucket" {
  description = "Name of the bucket for all runs. The default is <project>-quatrain-<location>."
  type        = string
  default     = null
}

variable "source_buckets" {
  description = "Buckets that hold the tables. Runs may read them."
  type        = set(string)
  default     = []
}

variable "submitters" {
  description = "Who may submit and schedule runs, in the form of IAM: user:, group: or serviceAccount:."
  type        = set(string)
  default     = []
}

variable "releasers" {
  description = "Who may release models and move the traffic of endpoints; they read what was measured, and write beside it."
  type        = set(string)
  default     = []
}

variable "publishers" {
  description = "Who may push images and templates, usually the account of the CI."
  type        = set(string)
  default     = []
}

variable "encryption_key" {
  description = "Customer-managed key in the same region. First allow Google to use it: docs/security.md."
  type        = string
  default     = null
}

variable "dataflow" {
  description = "Whether preprocessing may run on Dataflow."
  type        = bool
  default     = false
}

variable "prediction_datasets" {
  description = "Datasets of BigQuery, in the form PROJECT.DATASET, into whose tables predictions may be loaded."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for name in var.prediction_datasets : can(regex("^[^.]+[.][^.]+$", name))])
    error_message = "A dataset has the form PROJECT.DATASET."
  }
}

variable "request_log_datasets" {
  description = "Datasets of BigQuery, in the form PROJECT.DATASET, with the request logs of endpoints."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for name in var.request_log_datasets : can(regex("^[^.]+[.][^.]+$", name))])
    error_message = "A dataset has the form PROJECT.DATASET."
  }
}

variable "cloud_build" {
  description = "Whether Cloud Build may build the images, for those without Docker."
  type        = bool
  default     = false
}

variable "alert_channels" {
  description = "Notification channels that hear of failed runs and refused starts, in the form projects/PROJECT/notificationChannels/NUMBER. Without one there are no alerts."
  type        = list(string)
  default     = []
}

variable "notify_topic" {
  description = "Topic of Pub/Sub that runs may publish notices to, in the form projects/PROJECT/topics/NAME."
  type        = string
  default     = null

  validation {
    condition     = var.notify_topic == null || can(regex("^projects/[^/]+/topics/[^/]+$", var.notify_topic))
    error_message = "A topic has the form projects/PROJECT/topics/NAME."
  }
}

variable "notify_secret" {
  description = "Secret with the address of a webhook that runs may read, in the form projects/PROJECT/secrets/NAME."
  type        = string
  default     = null

  validation {
    condition     = var.notify_secret == null || can(regex("^projects/[^/]+/secrets/[^/]+$", var.notify_secret))
    error_message = "A secret has the form projects/PROJECT/secrets/NAME, without a version."
  }
}

variable "expected_runs" {
  description = "Days within which a run of each model must have succeeded, such as { flights = 8 } for a weekly schedule. Later, the alert channels hear of it."
  type        = map(number)
  default     = {}

  validation {
    condition     = alltrue([for days in values(var.expected_runs) : days >= 1 && days <= 700 && floor(days) == days])
    error_message = "Each number is that of whole days, from 1 to 700."
  }
}
